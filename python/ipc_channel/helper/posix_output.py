"""A pipe that a helper writes to, on POSIX, read by an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import itertools
import os
import threading
from collections.abc import Callable

from ipc_channel import fork
from ipc_channel.aio.readiness import unwatch_input, watcher_of
from ipc_channel.helper import output_thread
from ipc_channel.helper.recorder import Recorder

_AT_ONCE = 16384  # bytes, so that a helper that writes much leaves time for others
_LAST = 2**20  # bytes that are read at the end: as many as any pipe holds
_PAUSE = 0.05  # seconds until a reader without room is tried again
_STANDARD_ERROR = 2
_LONGEST_WAIT = 1.0  # seconds for a thread that is busy with a line


class OutputPipe:
    """A pipe whose reading end an event loop watches.

    The loop is the running one or, if ``in_thread``, that of a thread that reads for
    all helpers: the loop of a blocking channel runs only during calls, and the helper
    would have to wait for the next one once the pipe is full.
    """

    def __init__(self, reader: Recorder, *, in_thread: bool) -> None:
        self._reader = reader
        self._in_thread = in_thread
        self._thread: output_thread.OutputThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()  # the loop may be another thread's
        self._ended = False
        self._freed = threading.Event()
        self._source, self._child_end = _open_pipe()

    @property
    def child_end(self) -> int:
        """The descriptor that the process is to write to."""
        return self._child_end.fileno()

    def begin(self) -> None:
        """Begin to read, once the process has its end."""
        self._child_end.close()
        if self._in_thread:
            self._thread = output_thread.acquire()
            self._loop = self._thread.loop
        else:
            self._loop = asyncio.get_running_loop()
        self._call(self._watch)

    def go_on(self) -> None:
        """Read in the running loop from now on if the one before has been closed."""
        if self._thread is None and self._loop is not None and self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
            self._watch()

    def read_rest(self) -> None:
        """Read what was written until now."""
        # A function that got a line in the thread may itself wait for this thread.
        if self._lock.acquire(timeout=_LONGEST_WAIT):
            try:
                left = 0 if self._ended or self._loop is None else _LAST
                while left > 0 and (data := self._source.read(_AT_ONCE)):
                    left -= len(data)
                    self._reader.take(data)
            finally:
                self._lock.release()

    def close(self) -> None:
        """Read what was written, and free everything."""
        self._child_end.close()
        self.read_rest()
        self._call(self._free)
        if self._runs_elsewhere():
            self._freed.wait(_LONGEST_WAIT)
            if self._thread is not None:
                self._thread.wait_until_free(_LONGEST_WAIT)

    def _call(self, function: Callable[[], object]) -> None:
        """Call a function in the thread in which the loop runs."""
        if self._loop is None or not self._runs_elsewhere():
            function()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)

    def _runs_elsewhere(self) -> bool:
        """Whether another thread runs the loop, which this one must not touch."""
        if self._thread is not None:
            return not self._thread.is_current
        loop = self._loop
        return loop is not None and loop.is_running() and loop is not _running_loop()

    def _watch(self) -> None:
        if not self._ended and self._loop is not None:
            watcher_of(self._loop).add_reader(self._source.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        with self._lock:
            data = b"" if self._ended else self._source.read(_AT_ONCE)
            if data:
                self._go_on(has_room=self._reader.take(data))
                return
        if data == b"":
            self._free()

    def _go_on(self, *, has_room: bool) -> None:
        if not has_room:
            assert self._loop is not None
            unwatch_input(self._loop, self._source.fileno())  # so the helper has to wait
            self._loop.call_later(_PAUSE, self._retry)

    def _retry(self) -> None:
        with self._lock:
            if self._ended or self._loop is None:
                return
            if self._reader.take(b""):
                self._watch()
            else:
                self._loop.call_later(_PAUSE, self._retry)

    def _free(self) -> None:
        """Stop watching, and close; call it where the loop runs."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        try:
            self._reader.close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._loop is not None:
            unwatch_input(self._loop, self._source.fileno())
        with fork.lock:
            self._source.close()
        if self._thread is not None:
            output_thread.release(self._thread)
        self._freed.set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _open_pipe() -> tuple[io.FileIO, io.FileIO]:
    """Return both ends of a new pipe; forked children close their copies of them."""
    ends: list[io.FileIO] = []
    # One expression in C: so an exception of a signal handler leaves no descriptor open.
    pair = itertools.chain.from_iterable(itertools.islice(iter(os.pipe, None), 1))
    with fork.lock:
        ends.extend(map(io.FileIO, pair, ("rb", "wb")))
        if ends[1].fileno() <= _STANDARD_ERROR:  # ours is closed; the child's goes there
            number = fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, _STANDARD_ERROR + 1)
            ends.insert(1, io.FileIO(number, "wb"))
            ends.pop().close()
        for end in ends:
            fork.in_child(end, io.FileIO.close)
    os.set_blocking(ends[0].fileno(), False)
    return ends[0], ends[1]
