"""The captured output of a helper on Windows: a pipe that a thread reads."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.helper.output import Outputs
from windows_handles import handles
from windows_programs import (
    PATIENCE,
    SLEEP,
    Observed,
    no_more_handles_than,
    program,
    wait_for,
    with_child,
)


@pytest.fixture(params=["ProactorEventLoop", "SelectorEventLoop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = getattr(asyncio, request.param)()
    yield made
    made.close()


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """A file that a program writes whole."""
    return tmp_path / "said"


def start(code: str, take: Callable[[str], object], **options: Any) -> HelperProcess:
    """Start a program whose standard error goes to ``take``."""
    options = {"process_group": True, "env": None, "cwd": None, **options}
    output = Outputs("name", stdout="inherit", stderr=take, in_thread=False).open()
    process = Command(program(code), **options).start({}, output)
    output.begin(process.pid)
    return process


def readers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "ipc-channel-output"]


def wakeup_fd() -> int:
    """Return the socket that signals write to."""
    found = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(found)
    return found


def test_signals_go_on_waking_the_loop_of_the_service(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Or else Ctrl-C would wait for the next event, and go to a socket that is closed."""
    before = wakeup_fd()
    process = start(SLEEP, print)
    assert wakeup_fd() == before
    loop.run_until_complete(process.end(0, 0))
    assert wakeup_fd() == before


def test_every_line_is_there_at_its_end(loop: asyncio.AbstractEventLoop) -> None:
    """In its order, even if the function is slow, and with the last line that has no end."""

    def take(line: str) -> None:
        lines.append(line)
        time.sleep(0.01)

    lines: list[str] = []
    code = (
        "import os\nfor n in range(200): os.write(2, b'%799d\\n' % n)\nos.write(2, b'end')"
    )
    process = start(code, take)
    loop.run_until_complete(process.end(PATIENCE, 0))
    assert lines == [*(f"{n:799d}" for n in range(200)), "end"]
    assert process.last_lines == tuple(lines[-100:])


FORWARDING = """
import asyncio, sys
from ipc_channel.helper.command import Command
from ipc_channel.helper.output import Outputs
output = Outputs("name", stdout="forward", stderr="forward", in_thread=False).open()
command = Command(sys.argv[1:], env=None, cwd=None, process_group=True)
process = command.start({}, output)
output.begin(process.pid)
asyncio.run(process.end(60, 0))
"""


def test_output_is_forwarded_into_ours() -> None:
    """As it is, and in any amount."""
    code = "import os\nos.write(1, b'one\\r\\ntwo')\nos.write(2, b'y' * 300000)"
    done = subprocess.run(
        [sys.executable, "-c", FORWARDING, *program(code)],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.stdout == b"one\r\ntwo"
    assert done.stderr == b"y" * 300000


def test_a_function_that_waits_for_the_service_does_not_hang_it(
    loop: asyncio.AbstractEventLoop,
) -> None:
    def take(line: str) -> None:
        waits.set()
        goes_on.wait(PATIENCE)
        lines.append(line)

    waits, goes_on, lines = threading.Event(), threading.Event(), list[str]()
    process = start("import os\nos.write(2, b'one\\ntwo\\n')", take)
    assert waits.wait(PATIENCE)
    begin = time.monotonic()
    loop.run_until_complete(process.end(PATIENCE, 0))
    assert time.monotonic() - begin < PATIENCE / 2
    goes_on.set()
    for thread in readers():
        thread.join(PATIENCE)
    assert lines == ["one", "two"]
    assert not readers()


def test_a_pipe_that_another_process_keeps_open(
    loop: asyncio.AbstractEventLoop, said: Path
) -> None:
    """Its end is waited for once, for half a second, and the thread ends all the same."""
    code = with_child(said, "", flags=subprocess.CREATE_BREAKAWAY_FROM_JOB)
    process = start(code.replace("Popen(", "Popen(stderr=2, args="), print)
    left = Observed(int(wait_for(said)))
    loop.run_until_complete(process.wait())
    assert process.result is not None
    begin = time.monotonic()
    for _ in range(20):
        assert process.result is not None
    assert time.monotonic() - begin < 5
    loop.run_until_complete(process.end(PATIENCE, 0))
    assert not readers()
    assert not left.ends(0)
    left.kill()


def test_a_pipe_that_is_closed_before_it_is_read(loop: asyncio.AbstractEventLoop) -> None:
    """The thread has not come to it yet, and lets it go nonetheless."""

    def hold() -> None:
        is_held.set()
        goes_on.wait(PATIENCE)

    is_held, goes_on = threading.Event(), threading.Event()
    first = start(SLEEP, print)
    thread = first._output._pipes[2]._thread
    assert thread is not None
    thread.loop.call_soon_threadsafe(hold)
    assert is_held.wait(PATIENCE)
    second = start(SLEEP, print)
    second._output.close()
    goes_on.set()
    for one in (second, first):
        loop.run_until_complete(one.end(0, 0))
    assert not readers()


def test_no_handle_is_left(loop: asyncio.AbstractEventLoop) -> None:
    def round_trip() -> None:
        lines: list[str] = []
        process = start("import os\nos.write(2, b'line')", lines.append)
        loop.run_until_complete(process.end(PATIENCE, PATIENCE))
        assert lines == ["line"]
        loop.run_until_complete(start(SLEEP, print).end(0, 0))

    for _ in range(3):
        round_trip()
    before = handles()
    for _ in range(15):
        round_trip()
    no_more_handles_than(before)
    assert not readers()
