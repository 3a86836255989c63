"""A pipe that a helper writes to, on Windows, read by the proactor loop of a thread.

A selector loop cannot watch pipes there, and a pipe belongs to the first proactor loop that
reads it, but a helper may be used in one loop after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import Any

from ipc_channel.helper import output_thread
from ipc_channel.helper.recorder import Recorder
from ipc_channel.windows.api import close_handle

_LONGEST_WAIT = 0.5  # seconds for an end that another process may hold back
_LAST = 2**20  # bytes that are waited for at the end, more than any pipe holds


class OutputPipe(asyncio.Protocol):
    """A pipe whose reading end a thread reads, whatever ``in_thread`` says."""

    def __init__(self, reader: Recorder, *, in_thread: bool) -> None:  # noqa: ARG002  # see above
        self._reader = reader
        self._thread: output_thread.OutputThread | None = None
        self._transport: asyncio.BaseTransport | None = None
        self._stopped = False
        self._patience = _LONGEST_WAIT
        self._received = 0  # bytes
        self._ending = False
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
        try:
            await self._thread.loop.connect_read_pipe(lambda: self, self._source)
        except OSError as error:
            self._source.close()
            self.connection_lost(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._stopped:
            transport.close()

    def data_received(self, data: bytes) -> None:
        with self._lock:
            if not self._ending:
                self._received += len(data)
                self._reader.take(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # of Protocol
        if self._freed.is_set():
            return
        self._end()
        assert self._thread is not None
        output_thread.release(self._thread)
        self._freed.set()

    def read_rest(self) -> None:
        """Wait until everything that was written is read, unless the pipe stays open."""
        if not self._is_of_others():
            return
        seen, most = -1, self._received + _LAST
        while not self._ended.wait(self._patience):
            if not seen < self._received < most:
                # Once in vain is enough: this stops the event loop of the caller.
                self._patience = 0.0
                return
            seen = self._received

    def close(self) -> None:
        """Read what was written, and free everything."""
        self._close_child_end()
        if self._thread is None:
            self._end()
            self._source.close()
            return
        self.read_rest()
        # A function that got a line in the thread may itself wait for this thread.
        is_free = self._lock.acquire(timeout=_LONGEST_WAIT)
        try:
            if is_free:
                self._end()
        finally:
            if is_free:
                self._lock.release()
            with contextlib.suppress(RuntimeError):  # the loop is closed: all was read
                self._thread.loop.call_soon_threadsafe(self._stop)
        if is_free and self._is_of_others():
            self._freed.wait(_LONGEST_WAIT)
            self._thread.wait_until_free(_LONGEST_WAIT)

    def _is_of_others(self) -> bool:
        """Whether another thread than this one reads."""
        return self._thread is not None and not self._thread.is_current

    def _stop(self) -> None:
        self._stopped = True
        if self._transport is not None:
            self._transport.close()

    def _end(self) -> None:
        with self._lock:
            if self._ending:
                return
            self._ending = True
            try:
                self._reader.close()
            finally:
                self._ended.set()

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
