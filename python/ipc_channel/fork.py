"""What a forked child does with the channels of its parent: it lets go of them.

A fork copies every descriptor, and the kernel tells a peer of an end only once
all copies are closed. So the child closes its copies at once, in a hook that
Python runs after ``os.fork``. It leaves alone what is still the parent's: event
loops, whose epoll both processes share, directories, and the connections
themselves, which a ``shutdown`` would end for both.

Forks behind Python's back (a C extension that calls ``fork``) run no hook:
their children keep the copies until they end, or replace their program, since
every descriptor is close-on-exec.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ipc_channel.errors import WrongProcessError

lock = RLock()
"""Held around the opening or closing of a descriptor and the note of it.

Otherwise a fork in another thread could come in between, and leave the child
with a descriptor that it does not know of, or a number that it must not close.
"""

_Thing = TypeVar("_Thing")

_held: WeakKeyDictionary[Any, Callable[[Any], object]] = WeakKeyDictionary()


def in_child(thing: _Thing, let_go: Callable[[_Thing], object]) -> None:
    """Have every forked child call ``let_go(thing)``, for as long as ``thing`` exists.

    ``let_go`` closes the descriptors of ``thing`` and does nothing else outside
    the child's own memory.
    """
    _held[thing] = let_go


def hold(make: Callable[[], socket.socket]) -> socket.socket:
    """Return the socket that ``make`` opens; forked children close their copy of it."""
    with lock:
        sock = make()
        in_child(sock, _close_copy)
        return sock


def _close_copy(sock: socket.socket) -> None:
    """Close a socket whatever counts on it, such as uvloop's connect."""
    if (number := sock.detach()) >= 0:
        os.close(number)


def close(sock: socket.socket) -> None:
    """Close a socket, at a moment at which no other thread forks."""
    with lock:
        sock.close()


@dataclass(frozen=True)
class Process:
    """A process as it was when a channel was made in it."""

    number: int
    forks: int
    """How many forks ago the library was imported: a number alone may be used again."""

    @property
    def runs(self) -> bool:
        """Whether this is the running process, and not one that it was forked from."""
        return self == this_process()

    def check(self) -> None:
        """Raise WrongProcessError unless this is the running process."""
        if not self.runs:
            raise WrongProcessError(
                f"the channel belongs to process {self.number}, of which process"
                f" {os.getpid()} is a fork; make a channel in each process, after the fork"
            )


_forks = 0


def this_process() -> Process:
    """Return the running process."""
    return Process(os.getpid(), _forks)


class ForeignDescriptor:
    """A descriptor of a channel that another library owns and will close by its number."""

    def __init__(self, number: int) -> None:
        self._number = number
        # By which it is known again: the number may be another file's by then.
        self._file = os.fstat(number) if hasattr(os, "fork") else None

    def replace(self) -> None:
        """In a forked child, put /dev/null in its place, unless it is closed already."""
        if self._file and os.path.samestat(os.fstat(self._number), self._file):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, self._number, inheritable=False)
            os.close(null)


def _let_go_of_all() -> None:
    global _forks  # noqa: PLW0603  # one process, one count
    _forks += 1
    try:
        for thing, let_go in list(_held.items()):
            # Whatever one of them lacks, as it was being made, is no matter of the others.
            # Nor is what a signal handler raises: the hook could only print it.
            with contextlib.suppress(BaseException):
                let_go(thing)
        _held.clear()  # or a grandchild would close what the child has opened since
    finally:
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lock.acquire,
        after_in_parent=lock.release,
        after_in_child=_let_go_of_all,
    )
