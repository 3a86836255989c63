"""Makes a forked child close its copies of the parent's descriptors.

A fork copies every descriptor, and the kernel reports an end to the peer only once
all copies are closed. So the child closes its copies at once, in a hook that
Python runs after ``os.fork``. It does not touch what both processes share: event
loops with their epoll descriptor, directories, and the connections themselves, which a
``shutdown`` would end for the parent too.

A fork outside ``os.fork`` (a C extension that calls ``fork``) runs no hook: the child
keeps its copies until it exits or calls ``exec``, since every descriptor is
close-on-exec.
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
"""Held while a descriptor is opened and registered, or closed and unregistered.

Otherwise another thread could fork in between: the child would not know of a
descriptor that it has, or would close a number that is no longer the channel's.
"""

_Thing = TypeVar("_Thing")

_held: WeakKeyDictionary[Any, Callable[[Any], object]] = WeakKeyDictionary()


def in_child(thing: _Thing, let_go: Callable[[_Thing], object]) -> None:
    """Make every forked child call ``let_go(thing)``, for as long as ``thing`` exists.

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


def hold_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that do not block; forked children close their copies."""
    with lock:
        pair = socket.socketpair()
        for sock in pair:
            in_child(sock, _close_copy)
            sock.setblocking(False)
        return pair


def _close_copy(sock: socket.socket) -> None:
    """Close a socket at once, even if uvloop's connect keeps a reference to it."""
    if (number := sock.detach()) >= 0:
        os.close(number)


def close(sock: socket.socket) -> None:
    """Close a socket while no other thread can fork."""
    with lock:
        sock.close()


@dataclass(frozen=True)
class Process:
    """The process in which a channel was made."""

    number: int
    forks: int
    """How many forks lie between the import of the library and this process.

    A process number alone does not identify a process: the kernel reuses it.
    """

    @property
    def runs(self) -> bool:
        """Whether this is the running process, and not its parent before a fork."""
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
    """A descriptor of a channel that another library owns and closes by its number."""

    def __init__(self, number: int) -> None:
        self._number = number
        # Identifies the file: by then the number may stand for another one.
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
            # One thing may be only half made; the others must be closed all the same. An
            # exception of a signal handler is dropped too: the hook could only print it.
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
