"""Processes on Windows: how their end is told, and how they are ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

from ipc_channel import HelperError
from ipc_channel.helper import windows_process
from ipc_channel.helper.child import reap_abandoned
from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.helper.result import KILLED
from ipc_channel.helper.windows_process import TERMINATED, WindowsChild
from ipc_channel.windows import wait as windows_wait
from windows_handles import handles
from windows_programs import (
    DEAF,
    PATIENCE,
    SLEEP,
    Observed,
    no_more_handles_than,
    say,
    start,
    wait_for,
)
from wine import NO_CTRL_BREAK, not_under_wine

CONTROL_C_EXIT = 0xC000013A


@pytest.fixture(params=["ProactorEventLoop", "SelectorEventLoop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = getattr(asyncio, request.param)()
    yield made
    made.close()


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """A file that a program writes whole."""
    return tmp_path / "said"


@pytest.mark.parametrize("status", [0, 3, 259, 0xC0000005])
def test_its_end_is_told(loop: asyncio.AbstractEventLoop, status: int) -> None:
    """259 is what Windows gives as the status of a process that runs."""
    process = start(f"import ctypes; ctypes.windll.kernel32.ExitProcess({status})")
    assert loop.run_until_complete(asyncio.wait_for(process.wait(), PATIENCE)) == status
    assert process.returncode == status
    assert "STATUS_ACCESS_VIOLATION" in process.ending or status < 0xC0000005
    assert loop.run_until_complete(process.wait()) == status, "and again"


def test_nothing_is_polled_meanwhile(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, said: Path
) -> None:
    def note(child: WindowsChild) -> int | None:
        polls.append(child.pid)
        return poll(child)

    polls: list[int] = []
    poll = WindowsChild.poll
    monkeypatch.setattr(WindowsChild, "poll", note)

    async def wait() -> int:
        waiting = asyncio.ensure_future(process.wait())
        threads = threading.active_count()
        await asyncio.sleep(0.3)
        assert len(polls) == 1
        assert threading.active_count() == threads, "nor does a thread of ours wait"
        said.touch()
        return await waiting

    code = f"import os, time\nwhile not os.path.exists({str(said)!r}): time.sleep(0.01)"
    process = start(code)
    assert loop.run_until_complete(wait()) == 0


def test_a_process_that_leaves_in_time(loop: asyncio.AbstractEventLoop) -> None:
    process = start("")
    loop.run_until_complete(process.end(PATIENCE, PATIENCE))
    assert process.returncode == 0
    assert process.ending == "ended with status 0"


@pytest.mark.parametrize("handled", [False, True])
def test_the_order_of_its_end(
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    said: Path,
    handled: bool,
) -> None:
    """CTRL_BREAK to its group, and the end of its job when the grace has passed."""

    def send(event: int, group: int) -> bool:
        assert (event, group) == (signal.CTRL_BREAK_EVENT, process.pid)
        if handled:
            said.touch()
        return True

    monkeypatch.setattr(windows_process, "_send_console_event", send)
    code = f"import os, time\nwhile not os.path.exists({str(said)!r}): time.sleep(0.01)\nos._exit(7)"
    process, begin = start(code), time.monotonic()
    loop.run_until_complete(process.end(0.1, PATIENCE if handled else 0.2))
    assert process.returncode == (7 if handled else KILLED)
    assert handled or time.monotonic() - begin >= 0.3


@not_under_wine(NO_CTRL_BREAK)
def test_ctrl_break_ends_it(loop: asyncio.AbstractEventLoop, said: Path) -> None:
    process = start(say(said, "''") + SLEEP)
    wait_for(said)
    loop.run_until_complete(process.end(0, PATIENCE))
    assert process.returncode == CONTROL_C_EXIT
    assert process.ending == "was ended by CTRL_BREAK or CTRL_C (STATUS_CONTROL_C_EXIT)"


@not_under_wine(NO_CTRL_BREAK)
def test_ctrl_break_lets_it_clean_up(loop: asyncio.AbstractEventLoop, said: Path) -> None:
    code = f"""
import os, signal, time
def clean_up(*_):
    os.close(os.open({str(said)!r} + ".clean", os.O_CREAT))
    os._exit(7)
signal.signal(signal.SIGBREAK, clean_up)
{say(said, "''")}
while True: time.sleep(0.01)
"""
    process = start(code)
    wait_for(said)
    loop.run_until_complete(process.end(0, PATIENCE))
    assert process.returncode == 7
    assert said.with_name("said.clean").exists()


def test_what_ignores_ctrl_break_is_killed(
    loop: asyncio.AbstractEventLoop, said: Path
) -> None:
    process = start(DEAF + say(said, "''") + SLEEP)
    wait_for(said)
    loop.run_until_complete(process.end(0, 0.05))
    assert process.returncode == KILLED
    assert process.ending == "was killed by this service"


def test_a_process_that_is_dropped_is_killed(said: Path) -> None:
    process = start(say(said, "''") + SLEEP)
    observed = Observed(process.pid)
    with pytest.warns(ResourceWarning, match=f"helper process {process.pid} was killed"):
        del process
        gc.collect()
    assert observed.ends()
    reap_abandoned()


def test_no_handle_is_left(loop: asyncio.AbstractEventLoop) -> None:
    def round_trip() -> None:
        process = start("")
        loop.run_until_complete(process.end(PATIENCE, PATIENCE))
        cancelled = start(SLEEP)
        with contextlib.suppress(asyncio.TimeoutError):
            loop.run_until_complete(asyncio.wait_for(cancelled.wait(), 0.01))
        loop.run_until_complete(cancelled.end(0, 0))
        with pytest.raises(HelperError):
            Command(["nowhere"], env=None, cwd=None, process_group=True).start({})

    for _ in range(3):
        round_trip()
    before = handles()
    for _ in range(20):
        round_trip()
    no_more_handles_than(before)


def test_waiting_that_stops_just_as_the_process_ends(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Nothing is told then, nor lost, nor waited for."""

    async def look(process: HelperProcess, seconds: float) -> None:
        told: list[str] = []
        running = asyncio.get_running_loop()
        watch = process._child.watch(running, lambda: told.append("told"))
        await asyncio.sleep(seconds)
        watch.close()
        assert watch not in windows_wait._open.values()
        await asyncio.sleep(0)  # what the loop was given before may still come
        before = list(told)
        assert before in ([], ["told"])
        assert await process.wait() == 0
        await asyncio.sleep(0)
        assert told == before

    for number in range(20):
        process = start("")
        loop.run_until_complete(look(process, number * 0.002))
        loop.run_until_complete(process.end(PATIENCE, 0))


def test_signals_are_those_of_asyncio(loop: asyncio.AbstractEventLoop) -> None:
    for end in (HelperProcess.terminate, HelperProcess.kill):
        process = start(SLEEP)
        with pytest.raises(ValueError, match="signal 2 cannot be sent on Windows"):
            process.send_signal(signal.SIGINT)
        end(process)
        assert loop.run_until_complete(process.wait()) == TERMINATED
        with pytest.raises(ProcessLookupError):
            process.terminate()


@not_under_wine(NO_CTRL_BREAK)
def test_ctrl_break_may_be_sent(loop: asyncio.AbstractEventLoop, said: Path) -> None:
    process = start(say(said, "''") + SLEEP)
    wait_for(said)
    process.send_signal(signal.CTRL_BREAK_EVENT)
    assert loop.run_until_complete(process.wait()) == CONTROL_C_EXIT
