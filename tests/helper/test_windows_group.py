"""What ends with a helper on Windows, and with its service."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

from ipc_channel.helper.result import KILLED
from windows_programs import (
    DEAF,
    PATIENCE,
    SERVICE,
    SLEEP,
    Observed,
    program,
    say,
    start,
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


@pytest.mark.parametrize("deaf", [False, True])
def test_what_it_starts_ends_with_it(
    loop: asyncio.AbstractEventLoop, said: Path, deaf: bool
) -> None:
    """The helper itself has left by then; CTRL_BREAK reaches its group, or the job ends."""
    code = with_child(said, then="")
    process = start(code.replace(repr(SLEEP), repr(DEAF + SLEEP)) if deaf else code)
    left = Observed(int(wait_for(said)))
    assert loop.run_until_complete(process.wait()) == 0
    assert process._child.group_lives()
    assert not process._child.released
    loop.run_until_complete(process.end(0, 0.5))
    assert left.ends(0)
    assert not process._child.group_lives()
    assert process._child.released


def test_unless_it_breaks_away(loop: asyncio.AbstractEventLoop, said: Path) -> None:
    process = start(with_child(said, "", flags=subprocess.CREATE_BREAKAWAY_FROM_JOB))
    left = Observed(int(wait_for(said)))
    loop.run_until_complete(process.end(PATIENCE, 0))
    assert not left.ends(0.1)
    left.kill()


def test_the_group_may_be_shared(loop: asyncio.AbstractEventLoop, said: Path) -> None:
    """Then what it starts is left alone, and nothing is asked that would reach us, too."""
    process = start(with_child(said), own_group=False)
    left = Observed(int(wait_for(said)))
    with pytest.raises(ValueError, match="shares our process group"):
        process.send_signal(signal.CTRL_BREAK_EVENT)
    loop.run_until_complete(process.end(0, PATIENCE))
    assert process.returncode == KILLED, "at once: there is nothing to ask it by"
    assert not left.ends(0.1)
    left.kill()


@pytest.mark.parametrize("own_group", [False, True])
def test_it_ends_with_the_service(said: Path, own_group: bool) -> None:
    """However that ends."""
    code = SERVICE.replace("{own_group}", str(own_group)).replace("{then}", SLEEP)
    helper = program(
        say(said, "str(os.getpid())").replace("with", "import os\nwith", 1) + SLEEP
    )
    with subprocess.Popen([sys.executable, "-c", code, *helper]) as service:
        observed = Observed(int(wait_for(said)))
        service.kill()
    assert observed.ends()


def test_a_service_that_ends_while_it_waits(said: Path) -> None:
    """Its interpreter is not called back by Windows while it goes."""
    then = """
import asyncio
loop = asyncio.new_event_loop()
waiting = loop.create_task(process.wait())
loop.run_until_complete(asyncio.sleep(0.05))
"""
    code = SERVICE.replace("{own_group}", "True").replace("{then}", then)
    done = subprocess.run(
        [sys.executable, "-c", code, *program(SLEEP)],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "Fatal" not in done.stderr


def test_a_service_without_a_console(said: Path) -> None:
    """Nothing can be asked to end there, so it is killed at once, and no window opens."""
    then = "import asyncio; asyncio.run(process.end(0, 1000)); print(process.ending)"
    code = SERVICE.replace("{own_group}", "True").replace("{then}", then)
    done = subprocess.run(
        [sys.executable, "-c", code, *program(SLEEP)],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        creationflags=subprocess.DETACHED_PROCESS,
    )
    assert done.stdout.strip() == "was killed by this service"
