"""Waiting for handles in the thread pool of Windows."""

from __future__ import annotations

import sys
import threading
import time

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

import ctypes
import functools
from collections.abc import Iterator

from ipc_channel.windows.api import duplicate
from ipc_channel.windows.wait import Wait, _close_all, _open

PATIENCE = 60.0


class Event:
    """An event of Windows, which is signalled until it is closed."""

    def __init__(self) -> None:
        self.handle: int = ctypes.windll.kernel32.CreateEventW(None, True, False, None)

    def signal(self) -> None:
        assert ctypes.windll.kernel32.SetEvent(self.handle)

    def close(self) -> None:
        assert ctypes.windll.kernel32.CloseHandle(self.handle)


@pytest.fixture
def event() -> Iterator[Event]:
    made = Event()
    yield made
    made.close()


def test_it_calls_once(event: Event) -> None:
    called = threading.Semaphore(0)
    wait = Wait(duplicate(event.handle), called.release)
    assert not called.acquire(timeout=0.1)
    event.signal()
    assert called.acquire(timeout=PATIENCE)
    assert not called.acquire(timeout=0.1)
    wait.close()
    wait.close()
    assert not _open


def test_it_does_not_call_any_more_once_it_is_closed(event: Event) -> None:
    called: list[int] = []
    for number in range(100):
        other = Event()
        wait = Wait(duplicate(other.handle), functools.partial(called.append, number))
        other.signal()
        wait.close()  # just as it calls
        before = len(called)
        time.sleep(0.001)
        assert len(called) == before
        other.close()


def test_it_may_be_closed_by_what_it_calls(event: Event) -> None:
    """As by a garbage collection: to wait for the end of itself would be for ever."""
    closed = threading.Event()

    def close() -> None:
        wait.close()
        closed.set()

    wait = Wait(duplicate(event.handle), close)
    event.signal()
    assert closed.wait(PATIENCE)


def test_the_handle_may_be_closed_first() -> None:
    event, called = Event(), threading.Event()
    wait = Wait(duplicate(event.handle), called.set)
    event.signal()
    event.close()
    assert called.wait(PATIENCE)
    wait.close()


def test_all_are_closed_when_the_interpreter_ends(event: Event) -> None:
    called: list[int] = []
    Wait(duplicate(event.handle), lambda: called.append(1))
    _close_all()
    event.signal()
    time.sleep(0.05)
    assert called == []
    assert not _open
