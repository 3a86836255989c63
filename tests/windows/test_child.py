"""A child on Windows, with what Windows answers made up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
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
