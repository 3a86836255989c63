"""A child on Windows, with what Windows answers made up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ipc_channel.helper import windows_process
from ipc_channel.helper.windows_process import WindowsChild

PID, PROCESS, JOB = 4321, 40, 44
CTRL_C, CTRL_BREAK = 0, 1
RUNS, HAS_ENDED = 258, 0


class Answers:
    """A process and its job, as Windows knows them by their handles."""

    def __init__(self) -> None:
        self.state = RUNS
        self.done: list[str] = []

    def __call__(self, name: str, result: Any = True) -> Any:
        """Return a function of that name, which notes that it is called."""
        return Noted(self, name, result)


class Noted:
    """A function of Windows."""

    def __init__(self, answers: Answers, name: str, result: Any) -> None:
        self._answers, self._name, self._result = answers, name, result

    def __call__(self, *arguments: Any) -> Any:
        self._answers.done.append(self._name)
        return self._result(*arguments) if callable(self._result) else self._result

    checked = __call__


class FakeJob:
    """The job of the child."""

    def __init__(self, answers: Answers) -> None:
        self.members = answers("members", lambda: [PID])
        self.terminate = answers("end of job")
        self.close = answers("close job")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    made = Answers()
    for name, result in (
        ("_wait_for_object", lambda *_: made.state),
        ("_get_exit_code", True),
        ("_terminate_process", True),
        ("_send_console_event", True),
        ("close_handle", True),
    ):
        monkeypatch.setattr(windows_process, name, made(name, result))
    return made


@pytest.fixture
def child(answers: Answers) -> Iterator[WindowsChild]:
    made = WindowsChild(own_group=True, outlives_us=False, nice=0)
    made._made.process, made._made.process_id = PROCESS, PID
    vars(made)["_job"] = FakeJob(answers)
    yield made
    answers.state = HAS_ENDED
    made.poll()
    assert made.released


def test_ctrl_c_is_refused(child: WindowsChild, answers: Answers) -> None:
    """Windows would take it, and send it to nobody."""
    with pytest.raises(ValueError, match=r"use signal\.CTRL_BREAK_EVENT"):
        child.signal(CTRL_C)
    assert "_send_console_event" not in answers.done
    child.signal(CTRL_BREAK)
    assert answers.done[-1] == "_send_console_event"
    child.signal(signal.SIGTERM)
    assert answers.done[-1] == "_terminate_process"


class Lock:
    """The lock, which another thread has held to release the child while this one waited."""

    def __init__(self, child: WindowsChild, answers: Answers) -> None:
        self._child, self._answers = child, answers
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1
        if self.depth == 1 and not self._child.released:
            self._answers.state = HAS_ENDED
            self._child.poll()
            self._child.release()
            assert self._child.released
            self._answers.done.append("released")

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


USES: dict[str, Callable[[WindowsChild], object]] = {
    "poll": WindowsChild.poll,
    "release": WindowsChild.release,
    "group_lives": WindowsChild.group_lives,
    "kill_all": WindowsChild.kill_all,
    "terminate_all": WindowsChild.terminate_all,
    "signal": lambda child: child.signal(signal.SIGTERM),
    "event": lambda child: child.signal(CTRL_BREAK),
}


@pytest.mark.parametrize("use", USES)
def test_a_handle_that_another_thread_closes_meanwhile(
    monkeypatch: pytest.MonkeyPatch, child: WindowsChild, answers: Answers, use: str
) -> None:
    """It is neither used nor closed again: its number may be another handle's by then."""
    lock = Lock(child, answers)
    if use == "release":
        vars(child)["_status"] = 0  # as a poll left it while others of its group ran
    monkeypatch.setattr(windows_process, "lock", lock)
    USES[use](child)
    assert answers.done[-1] == "released"
    assert [answers.done.count(one) for one in ("close job", "close_handle")] == [1, 1]
    assert lock.depth == 0


def test_a_watch_that_begins_as_another_thread_closes_the_handle(
    monkeypatch: pytest.MonkeyPatch, child: WindowsChild, answers: Answers
) -> None:
    """Then there is nothing to wait for but the next poll, and the loop does that."""
    monkeypatch.setattr(windows_process, "duplicate", answers("duplicate"))
    monkeypatch.setattr(windows_process, "Wait", answers("wait"))
    monkeypatch.setattr(windows_process, "lock", Lock(child, answers))

    async def watch() -> None:
        ended = asyncio.Event()
        one = child.watch(asyncio.get_running_loop(), ended.set)
        await ended.wait()
        one.close()

    asyncio.run(asyncio.wait_for(watch(), 60))
    assert answers.done[-1] == "released"


def test_a_watch_begins_without_the_lock(
    monkeypatch: pytest.MonkeyPatch, child: WindowsChild, answers: Answers
) -> None:
    """If it fails it waits for a callback, and that may wait for the lock."""
    lock = Lock(child, answers)
    depths: list[tuple[str, int]] = []

    def note(name: str, result: object) -> Callable[..., object]:
        def function(*_: object) -> object:
            depths.append((name, lock.depth))
            return result

        return function

    monkeypatch.setattr(windows_process, "duplicate", note("duplicate", 48))
    monkeypatch.setattr(windows_process, "Wait", note("wait", None))
    monkeypatch.setattr(windows_process, "lock", lock)
    monkeypatch.setattr(Lock, "__enter__", lambda one: setattr(one, "depth", 1))
    loop = asyncio.new_event_loop()
    child.watch(loop, print)
    loop.close()
    assert depths == [("duplicate", 1), ("wait", 0)]
