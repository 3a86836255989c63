"""A thread that watches sockets for an event loop that cannot.

The thread takes a copy of the watches, sleeps in ``select``, hands what is ready to the
loop, and waits until the loop has run the callbacks. So readiness is level-triggered, as
it is in a selector loop. A change of the watches wakes the thread, which takes a new copy.

The thread starts with the first watch. It ends when nothing has been watched for a
second, or when it has something to report and the loop is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ipc_channel import fork

CAPACITY = 500
"""Descriptors that one thread watches: on Windows ``select`` takes 512 at most."""

_IDLE = 1.0  # seconds without a watch after which the thread ends


@dataclass(frozen=True, eq=False)
class _Watch:
    """What to call, and the dict that holds this watch for as long as it is wanted."""

    home: dict[int, _Watch]
    fd: int
    callback: Callable[..., Any]
    args: tuple[Any, ...]

    def call(self) -> None:
        if self.home.get(self.fd) is self:  # or else it was removed meanwhile
            self.callback(*self.args)


class SelectorThread:
    """Watches sockets for ``loop``; only the thread of the loop may call its methods."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._readers: dict[int, _Watch] = {}
        self._writers: dict[int, _Watch] = {}
        self._lock = threading.Condition(threading.RLock())  # guards all that is here
        self._waker: socket.socket | None = None  # of the running thread: ends its select
        self._is_reporting = False  # the loop has not run all callbacks yet
        fork.in_child(self, SelectorThread._leave)

    def has_room(self) -> bool:
        """Whether the thread can watch one more descriptor."""
        return len(self._readers.keys() | self._writers.keys()) < CAPACITY

    def watches(self, fd: int) -> bool:
        return fd in self._readers or fd in self._writers

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        """Call ``callback`` with ``args`` whenever ``fd`` has input or an end."""
        self._add(_Watch(self._readers, fd, callback, args))

    def add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        """Call ``callback`` with ``args`` whenever ``fd`` has room or has failed."""
        self._add(_Watch(self._writers, fd, callback, args))

    def remove_reader(self, fd: int) -> bool:
        """Stop watching ``fd`` for input; return whether it was watched."""
        return self._remove(self._readers, fd)

    def remove_writer(self, fd: int) -> bool:
        """Stop watching ``fd`` for room; return whether it was watched."""
        return self._remove(self._writers, fd)

    def _add(self, watch: _Watch) -> None:
        with self._lock:
            if self._waker is None:
                self._start()
            watch.home[watch.fd] = watch
            self._wake()

    def _remove(self, home: dict[int, _Watch], fd: int) -> bool:
        with self._lock:
            if home.pop(fd, None) is None:
                return False
            self._wake()  # select may keep a socket open that is closed next
            return True

    def _start(self) -> None:
        receiver, waker = fork.hold_pair()
        try:
            threading.Thread(
                target=self._run,
                args=(receiver, waker),
                name="ipc_channel selector",
                daemon=True,
            ).start()
        except BaseException:
            # The system has no thread left; or a signal handler raised, and a thread that
            # runs nevertheless ends by itself, as its waker is not ours.
            fork.close(receiver)
            fork.close(waker)
            raise
        self._waker, self._is_reporting = waker, False

    def _wake(self) -> None:
        self._lock.notify()
        if self._waker is not None:
            with contextlib.suppress(OSError):  # its buffer is full: select returns anyway
                self._waker.send(b"\0")

    def _leave(self) -> None:
        """Forget everything in a forked child, where the thread does not exist."""
        self._lock = threading.Condition(threading.RLock())
        self._readers.clear()
        self._writers.clear()
        self._waker = None

    def _run(self, receiver: socket.socket, waker: socket.socket) -> None:
        try:
            while (watches := self._copy(waker)) is not None:
                ready = _select(receiver, *watches)
                if ready and not self._report(ready):
                    break
        finally:
            self._end(waker)
            fork.close(receiver)
            fork.close(waker)

    def _copy(self, waker: socket.socket) -> tuple[list[_Watch], list[_Watch]] | None:
        """Wait until there is something to watch; None once the thread is to end."""
        with self._lock:
            if self._waker is not waker:  # its start was interrupted
                return None
            while self._is_reporting or not (self._readers or self._writers):
                if not self._lock.wait(_IDLE) and self._is_done():
                    self._end(waker)  # now: the next watch finds that it must start another
                    return None
            return list(self._readers.values()), list(self._writers.values())

    def _is_done(self) -> bool:
        """Whether a thread that has waited in vain is to end."""
        if self._is_reporting:
            return not self._alive()
        return not (self._readers or self._writers)

    def _alive(self) -> bool:
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    def _end(self, waker: socket.socket) -> None:
        with self._lock:
            if self._waker is waker:
                self._waker = None

    def _report(self, ready: Sequence[_Watch]) -> bool:
        """Have the loop call the callbacks; return False if it is closed."""
        loop = self._loop()
        self._is_reporting = True
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._dispatch, loop, ready)
                return True
        return False

    def _dispatch(self, loop: asyncio.AbstractEventLoop, ready: Sequence[_Watch]) -> None:
        try:
            for watch in ready:
                loop.call_soon(watch.call)
        finally:  # even if a signal handler raises
            loop.call_soon(self._resume)

    def _resume(self) -> None:
        with self._lock:
            self._is_reporting = False
            self._lock.notify()


def _select(
    receiver: socket.socket, readers: list[_Watch], writers: list[_Watch]
) -> list[_Watch]:
    """Sleep until something is ready, or the thread is woken; return what is ready."""
    number = receiver.fileno()
    incoming, outgoing = [one.fd for one in readers], [one.fd for one in writers]
    try:
        # On Windows a connect that has failed is in the third set.
        found = select.select([number, *incoming], outgoing, outgoing)
    except (OSError, ValueError):  # one of them is closed: its callback meets the error
        return [one for one in (*readers, *writers) if _is_closed(one.fd)]
    if number in found[0]:
        with contextlib.suppress(OSError):
            receiver.recv(4096)
    readable, writable = set(found[0]), {*found[1], *found[2]}
    return [
        *(one for one in readers if one.fd in readable),
        *(one for one in writers if one.fd in writable),
    ]


def _is_closed(fd: int) -> bool:
    try:
        select.select([fd], [], [], 0)
    except (OSError, ValueError):
        return True
    return False
