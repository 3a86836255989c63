"""Waiting in a loop for the end of a process: until a descriptor tells, or by polling."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from ipc_channel.aio.readiness import unwatch_input, watcher_of
from ipc_channel.fork import Process

_LONGEST_PAUSE = 0.02  # seconds


class DescriptorWatch:
    """Waits until a descriptor, which the watch owns, is readable."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        on_end: Callable[[], object],
        maker: Process,
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._on_end = on_end
        self._maker = maker
        try:
            watcher_of(loop).add_reader(fd, self._on_readable)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._maker.runs:  # in a forked child the loop is the parent's
            unwatch_input(self._loop, self._fd)
        os.close(self._fd)

    def _on_readable(self) -> None:
        unwatch_input(self._loop, self._fd)
        self._on_end()


class PollingWatch:
    """Polls a process that nothing tells of, at first often, and later every 20 ms."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        has_ended: Callable[[], bool],
        on_end: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._has_ended = has_ended
        self._on_end = on_end
        self._timer: asyncio.TimerHandle | None = None
        self._look(0.001)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, pause: float) -> None:
        # The timer is set first: a signal handler that raises meanwhile ends nothing.
        later = min(2 * pause, _LONGEST_PAUSE)
        self._timer = self._loop.call_later(pause, self._look, later)
        if self._has_ended():
            self._timer.cancel()
            self._on_end()
