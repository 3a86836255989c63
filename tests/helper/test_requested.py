"""Whether the end of a helper was requested, if a signal could not be sent to it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from ipc_channel.fork import this_process
from ipc_channel.helper import helper_process
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.helper.output import HelperOutput


class FakeChild:
    """A child that runs until it is told its status, and takes signals as told."""

    pid = 4321
    ending = "ended"
    released = False

    def __init__(self, error: BaseException | None) -> None:
        self.maker = this_process()
        self.status: int | None = None
        self.error = error

    def poll(self) -> int | None:
        return self.status

    def watch(self, _: asyncio.AbstractEventLoop, __: Callable[[], object]) -> Any:
        return self

    def close(self) -> None:
        """It need not be waited for."""

    def group_lives(self) -> bool:
        return False

    def signal(self, _: int) -> None:
        if self.error is not None:
            raise self.error

    def terminate_all(self) -> None:
        self.signal(signal.SIGTERM)

    def kill_all(self) -> None:
        self.signal(signal.SIGTERM)

    def release(self) -> None:
        self.released = self.status is not None


def outcome(process: HelperProcess, child: FakeChild) -> tuple[bool, bool]:
    """Have the child end by itself; return whether it was requested, and has failed."""
    child.status = 5
    child.released = True
    assert process.result is not None
    return process.result.requested, process.result.failed


@pytest.mark.parametrize("error", [PermissionError(), ValueError()], ids=repr)
def test_a_signal_that_was_refused_did_not_end_it(error: Exception) -> None:
    child = FakeChild(error)
    process = HelperProcess(child, ["x"], HelperOutput())
    with pytest.raises(type(error)):
        process.terminate()
    assert outcome(process, child) == (False, True)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()], ids=repr)
def test_one_that_was_sent_did(error: BaseException | None) -> None:
    """Or that may have been, before a signal handler raised; a later refusal is no news."""
    child = FakeChild(error)
    process = HelperProcess(child, ["x"], HelperOutput())
    try:
        process.terminate()
    except KeyboardInterrupt:
        assert error is not None
    child.error = PermissionError()
    with pytest.raises(PermissionError):
        process.terminate()
    assert outcome(process, child) == (True, False)


def test_an_end_that_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a helper that has changed its user."""
    monkeypatch.setattr(helper_process, "_SETTLE", 0)
    child = FakeChild(PermissionError())
    process = HelperProcess(child, ["x"], HelperOutput())
    with pytest.raises(PermissionError):
        asyncio.run(process.end(0, 0))
    assert outcome(process, child) == (False, True)
