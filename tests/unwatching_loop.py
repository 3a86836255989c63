"""Event loops that watch no descriptors for others, like Windows' proactor loop."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from typing import Any

from ipc_channel.aio import readiness, selector_thread

_PATIENCE = 60.0
selector_thread._IDLE = 0.001  # seconds that ``close`` waits for the thread


class _Threaded:
    """Its selector thread runs until ``close``, so that tests can count descriptors."""

    def __init__(self) -> None:
        super().__init__()
        before = set(threading.enumerate())
        self._pair = socket.socketpair()
        loop: Any = self
        self._watcher = readiness.watcher_of(loop)
        self._watcher.add_reader(self._pair[0].fileno(), lambda: None)
        self._threads = set(threading.enumerate()) - before

    def close(self) -> None:
        loop: Any = super()  # the loop that this is mixed into
        loop.close()
        self._watcher.remove_reader(self._pair[0].fileno())
        for sock in self._pair:
            sock.close()
        for thread in self._threads:
            thread.join(_PATIENCE)
            assert not thread.is_alive(), "it watches a channel that was not closed"


class UnwatchingLoop(_Threaded, asyncio.SelectorEventLoop):
    """A loop of any system that is made so."""

    add_reader = asyncio.AbstractEventLoop.add_reader  # raises NotImplementedError
    add_writer = asyncio.AbstractEventLoop.add_writer


if sys.platform == "win32":

    class ProactorLoop(_Threaded, asyncio.ProactorEventLoop):
        """The loop that is made so by itself."""
