"""Services that signals end in order: with their helpers, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import ipc_channel
from guards import Service, service, until_gone
from helper_programs import BEHAVES, IGNORES
from ipc_channel import exit_on_signals, sync

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has other signals")

BEGIN = "from ipc_channel import exit_on_signals, make_ipc_channel\n"
ASYNC = """
async def main():
    channel = make_ipc_channel(transport="named_pipe")
    async with Helper({command!r}, channel, grace={grace}) as channel:
        if {says!r}: await channel.read()
        tell("runs", *children())
        await asyncio.sleep(1000)
"""
KINDS = {
    "asyncio": f"{ASYNC}\nwith exit_on_signals({{arguments}}):\n    asyncio.run(main())\n",
    "uvloop": f"{ASYNC}\nimport uvloop\n"
    "with exit_on_signals({arguments}):\n    uvloop.run(main())\n",
    "decorator": f"{ASYNC}\n@exit_on_signals({{arguments}})\ndef run():\n"
    "    asyncio.run(main())\nrun()\n",
    "blocking": """
with exit_on_signals({arguments}):
    channel = sync.make_ipc_channel(transport="named_pipe")
    with sync.Helper({command!r}, channel, grace={grace}) as channel:
        if {says!r}: channel.read()
        tell("runs", *children())
        channel.read()
""",
}


def code(
    kind: str, command: list[str] = BEHAVES, grace: float = 100, arguments: str = ""
) -> str:
    template = BEGIN + KINDS[kind]
    for name, value in {
        "{command!r}": repr(command),
        "{grace}": str(grace),
        "{arguments}": arguments,
        "{says!r}": str(command == IGNORES),
    }.items():
        template = template.replace(name, value)
    return template


def running(one: Service) -> int:
    """Return the pid of the helper, once the service waits for it."""
    word, pid = one.told()
    assert word == "runs"
    return int(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_service_ends_its_helper_and_leaves_nothing(
    kind: str, number: signal.Signals, tmp_path: Path
) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with service(code(kind), env=environment, stderr=-1) as one:
        pid = running(one)
        assert list(tmp_path.iterdir())
        one.process.send_signal(number)
        _, errors = one.process.communicate()
        assert one.process.returncode == 128 + number
        assert errors == ""
        until_gone(pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_another_signal_kills_at_once(kind: str) -> None:
    """It is like a second Ctrl-C, once it is more than a second later."""
    with service(code(kind, IGNORES, grace=100_000)) as one:
        pid = running(one)
        one.process.send_signal(signal.SIGTERM)
        while one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)  # between signals
        # The last one may have come after the block, to the handler from before.
        assert one.process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
        until_gone(pid)


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
def test_ctrl_c_is_as_ever(kind: str) -> None:
    with service(code(kind), stderr=-1) as one:
        running(one)
        one.process.send_signal(signal.SIGINT)
        _, errors = one.process.communicate()
        assert one.process.returncode == -signal.SIGINT
        assert "KeyboardInterrupt" in errors


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    "ctrl_c",
    [
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "signal.signal(signal.SIGINT, signal.SIG_DFL)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
    ],
)
def test_where_ctrl_c_is_ignored_the_signals_work(kind: str, ctrl_c: str) -> None:
    """As in a job that a shell without a terminal has put into the background."""
    with service(f"{ctrl_c}\n{code(kind)}") as one:
        pid = running(one)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait() == 128 + signal.SIGTERM
        until_gone(pid)


def test_a_handler_of_the_loop_for_ctrl_c_is_called() -> None:
    body = f"""{BEGIN}
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    tell()
    await stop.wait()
with exit_on_signals():
    asyncio.run(main())
sys.exit(7)
"""
    with service(body) as one:
        one.told()
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait() == 7


def test_an_ignored_signal_stays_ignored() -> None:
    body = f"signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{code('blocking')}"
    with service(body) as one:
        running(one)
        one.process.send_signal(signal.SIGHUP)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
def test_the_status_can_be_chosen(kind: str) -> None:
    with service(code(kind, arguments="status=3")) as one:
        running(one)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait() == 3


def test_signals_that_come_together_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipc_channel.service_signals._TOGETHER", 10**9)
    after = []
    with pytest.raises(SystemExit) as ended, exit_on_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            after.append("cleaned up")
    assert ended.value.code == 128 + signal.SIGTERM
    assert after == ["cleaned up"]
    monkeypatch.setattr("ipc_channel.service_signals._TOGETHER", 0)
    with pytest.raises(SystemExit), exit_on_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            after.append("not reached")
    assert after == ["cleaned up"]


@pytest.fixture
def former() -> Any:
    """Have a handler that notes what it gets."""
    got: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(one, lambda number, _: got.append(number)) for one in numbers]
    yield got
    for one, handler in zip(numbers, before, strict=True):
        signal.signal(one, handler)


def test_the_handlers_from_before_are_restored(former: list[int]) -> None:
    with exit_on_signals():
        pass
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit), exit_on_signals():
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(ZeroDivisionError), exit_on_signals():
        _ = 1 / 0
    signal.raise_signal(signal.SIGTERM)
    assert former == [signal.SIGTERM, signal.SIGHUP, signal.SIGTERM]


def test_a_signal_that_comes_too_late_reaches_the_former_handler(
    former: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the handlers are being restored."""
    real = signal.signal

    def set_(number: Any, handler: Any) -> Any:
        if number == signal.SIGHUP:  # after SIGTERM, which is restored
            signal.raise_signal(signal.SIGHUP)
        return real(number, handler)

    block = exit_on_signals()
    block.__enter__()
    monkeypatch.setattr(signal, "signal", set_)
    block.__exit__(None, None, None)
    assert former == [signal.SIGHUP]


def test_a_program_that_catches_the_interrupt_goes_on() -> None:
    with exit_on_signals(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_other_threads_and_coroutines_are_told_where_it_belongs() -> None:
    def work() -> None:
        try:
            with exit_on_signals():
                pass
        except RuntimeError as error:
            errors.append(str(error))

    async def main() -> None:
        work()

    errors: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    asyncio.run(main())
    assert "is for the main thread" in errors[0]
    assert "put asyncio.run(main()) into its block" in errors[1]


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (256, ValueError, "status is 256, not within 0 and 255"),
        (-1, ValueError, "status is -1"),
        (True, TypeError, "status is an int or None, not bool"),
        ("3", TypeError, "not str"),
    ],
)
def test_an_impossible_status_is_refused(
    status: Any, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text), exit_on_signals(status=status):
        pass


def test_both_modules_have_it() -> None:
    assert sync.exit_on_signals is ipc_channel.exit_on_signals
