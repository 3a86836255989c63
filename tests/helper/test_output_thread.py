"""The thread that reads outputs in blocking programs."""

from __future__ import annotations

import threading

import pytest

from helper_programs import BEHAVES
from ipc_channel import HelperError, fork, sync
from ipc_channel.helper import output_thread


def test_no_lock_is_held_while_the_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A garbage collection in the new thread may free a channel, which takes the lock."""

    def start(thread: threading.Thread) -> None:
        held.append(fork.lock._is_owned())  # type: ignore[attr-defined]  # of threading
        real(thread)

    held: list[bool] = []
    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    with sync.Helper(BEHAVES):
        pass
    assert held == [False]


def test_a_thread_that_cannot_start_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start tries again."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        text = "cannot start helper .*: can't start new thread"
        with pytest.raises(HelperError, match=text), sync.Helper(BEHAVES):
            pass
    with sync.Helper(BEHAVES):
        pass


def test_a_thread_that_can_have_no_event_loop_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Descriptors may be lacking; the next start tries again."""

    def fail() -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(output_thread, "_new_loop", fail)
        text = "cannot start helper .*: .*Too many open files"
        with pytest.raises(HelperError, match=text), sync.Helper(BEHAVES):
            pass
    with sync.Helper(BEHAVES):
        pass
