"""Tells when a descriptor is ready, in whatever event loop a channel is used.

Selector loops and uvloop watch descriptors themselves. The proactor loop, which is the
default on Windows, does not; there, a thread sleeps in ``select`` and reports to the loop.

Overlapped operations, which that loop is made for, would not do: Windows ties a socket to
one loop for as long as it exists, but a channel may be used in one loop after another,
and an overlapped receive that is cancelled may lose bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from ipc_channel import fork
from ipc_channel.aio.selector_thread import SelectorThread

# What a selector raises that a signal handler left inconsistent when it raised.
_INCONSISTENT = (OSError, KeyError, ValueError)


class Watcher(Protocol):
    """The part of an event loop that watches descriptors."""

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None: ...

    def add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> None: ...

    def remove_reader(self, fd: int) -> bool: ...

    def remove_writer(self, fd: int) -> bool: ...


class SelectorThreads:
    """As many threads as are needed to watch all sockets of ``loop``: mostly one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._threads: list[SelectorThread] = []

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self._thread_for(fd).add_reader(fd, callback, *args)

    def add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self._thread_for(fd).add_writer(fd, callback, *args)

    def remove_reader(self, fd: int) -> bool:
        return any(thread.remove_reader(fd) for thread in self._threads)

    def remove_writer(self, fd: int) -> bool:
        return any(thread.remove_writer(fd) for thread in self._threads)

    def _thread_for(self, fd: int) -> SelectorThread:
        for suits in (lambda one: one.watches(fd), SelectorThread.has_room):
            for thread in filter(suits, self._threads):
                return thread
        loop = self._loop()
        assert loop is not None
        self._threads.append(SelectorThread(loop))
        return self._threads[-1]


_threads: WeakKeyDictionary[asyncio.AbstractEventLoop, SelectorThreads] = (
    WeakKeyDictionary()
)


def watcher_of(loop: asyncio.AbstractEventLoop) -> Watcher:
    """Return what watches descriptors for ``loop``: the loop itself if it can."""
    if watches_itself(loop):
        return loop
    with fork.lock:
        if (threads := _threads.get(loop)) is None:
            threads = _threads[loop] = SelectorThreads(loop)
        return threads


def unwatch_input(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Stop watching ``fd`` for input, if it is watched."""
    if not _has_forgotten(loop):
        with contextlib.suppress(*_INCONSISTENT):
            watcher_of(loop).remove_reader(fd)


def unwatch_output(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Stop watching ``fd`` for room, if it is watched."""
    if not _has_forgotten(loop):
        with contextlib.suppress(*_INCONSISTENT):
            watcher_of(loop).remove_writer(fd)


def _has_forgotten(loop: asyncio.AbstractEventLoop) -> bool:
    return loop.is_closed() and watches_itself(loop)


def watches_itself(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` implements ``add_reader``."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


def is_level_triggered(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether an end or a reset is reported for as long as the descriptor is watched.

    libuv reports a reset only once, together with the data before it.
    """
    known: bool = getattr(loop, "is_level_triggered", False)
    return known or isinstance(loop, asyncio.SelectorEventLoop) or not watches_itself(loop)
