"""A pipe that a helper writes to, on Windows, read by the proactor loop of a thread.

A selector loop cannot watch pipes there, and a pipe belongs to the first proactor loop that
reads it, but a helper may be used in one loop after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import Any, Protocol

from ipc_channel.helper import output_thread
from ipc_channel.windows.api import close_handle

_LONGEST_WAIT = 0.5  # seconds for an end that another process may hold back


class Reader(Protocol):
    """Takes what is read."""

    def take(self, data: bytes) -> bool: ...

    def close(self) -> None: ...


class OutputPipe(asyncio.Protocol):
    """A pipe whose reading end a thread reads, whatever ``in_thread`` says."""

    def __init__(self, reader: Reader, *, in_thread: bool) -> None:  # noqa: ARG002  # see above
        self._reader = reader
        self._thread: output_thread.OutputThread | None = None
        self._transport: asyncio.BaseTransport | None = None
        self._ended = threading.Event()
        self._freed = threading.Event()
        self._lock = threading.RLock()
        self._source, self.child_end = _open_pipe()

    def begin(self) -> None:
        """Begin to read, once the process has its end."""
        self._close_child_end()
        self._thread = output_thread.acquire()
        asyncio.run_coroutine_threadsafe(self._connect(), self._thread.loop)

    def go_on(self) -> None:
        """Do nothing: the thread reads for as long as there is something to read."""

    async def _connect(self) -> None:
        assert self._thread is not None
        self._transport, _ = await self._thread.loop.connect_read_pipe(
            lambda: self, self._source
        )

    def data_received(self, data: bytes) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._reader.take(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # of Protocol
        self._end()
        assert self._thread is not None
        output_thread.release(self._thread)
        self._freed.set()

    def read_rest(self) -> None:
        """Wait until everything that was written is read, unless the pipe stays open."""
        if self._thread is not None and not self._thread.is_current:
            self._ended.wait(_LONGEST_WAIT)

    def close(self) -> None:
        """Read what was written, and free everything."""
        self._close_child_end()
        if self._thread is None:
            self._end()
            self._source.close()
            return
        self.read_rest()
        self._end()
        with contextlib.suppress(RuntimeError):  # the loop is closed: everything was read
            self._thread.loop.call_soon_threadsafe(self._stop)
        if not self._thread.is_current:
            self._freed.wait(_LONGEST_WAIT)
            self._thread.wait_until_free(_LONGEST_WAIT)

    def _stop(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _end(self) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._ended.set()
                self._reader.close()

    def _close_child_end(self) -> None:
        handle, self.child_end = self.child_end, 0
        if handle:
            close_handle(handle)


def _open_pipe() -> tuple[Any, int]:
    """Return the reading end, for a proactor loop, and the handle of the writing end."""
    if sys.platform != "win32":
        raise NotImplementedError
    from asyncio import windows_utils  # noqa: PLC0415  # only Windows has it

    source, child_end = windows_utils.pipe(overlapped=(True, False))
    return windows_utils.PipeHandle(source), child_end
