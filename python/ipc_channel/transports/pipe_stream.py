"""A pair of open named pipes as a stream (spec/rendezvous.md, "Named pipes")."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
from collections.abc import Callable, Sequence

from ipc_channel import fork
from ipc_channel.aio.stream import Stream, nothing
from ipc_channel.transports.pipe_write import HERE, NO_SIGNAL, best_write

with contextlib.suppress(ImportError):  # Windows, which has no POSIX named pipes
    import fcntl

NONE = -1
"""Stands for a descriptor that is not open."""

_CAPACITY = 2**20  # bytes: as much as Linux gives to an unprivileged process
RECHECK = 0.02  # seconds
_SETTLED = 0.25  # seconds; clients that follow the specification take 25 ms


class PipeStream(Stream):
    """A pair of open named pipes; without an ``out_fd`` if the peer has left already."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, in_fd: int, out_fd: int, initial_data: bytes
    ) -> None:
        super().__init__(loop)
        self.initial_data = initial_data
        self.on_settled: Callable[[], None] = nothing
        """Called once the peer is certain not to be a stray opener."""
        self._settling: asyncio.TimerHandle | None = None
        self._write = best_write()
        self._in = in_fd
        self._out = out_fd
        self.first_byte_seen = bool(initial_data)  # then an end comes from the peer
        self._stray_opener_left = False
        self._grown = False

    def in_fd(self) -> int:
        return self._in

    def out_fd(self) -> int:
        return self._out

    def read(self, size: int) -> bytes:
        # Checked before the read: a peer that connects, writes and leaves in between
        # must not be missed.
        gone = self.first_byte_seen or self.peer_gone()
        data = os.read(self._in, size)
        if not self.first_byte_seen:
            if not (data or gone):
                self.wait_out_stray_opener()
                raise BlockingIOError(errno.EAGAIN, "a stray opener has left")
            self.first_byte_seen = True
            self.on_settled()
        return data

    def settle_later(self) -> None:
        """Settle at the first byte, or after a while with a silent peer."""
        if self.first_byte_seen:
            self.on_settled()
        else:
            self._settling = self.loop.call_later(_SETTLED, self._settle)

    def _settle(self) -> None:
        if not self._stray_opener_left:
            self.on_settled()

    def read_into(self, room: memoryview) -> int:
        return os.readv(self._in, [room])

    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        if self._out == NONE:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        try:
            return self._write(self._out, buffers, HERE, NO_SIGNAL)
        except BlockingIOError:
            self._grow()
            raise

    def finish_writing(self) -> bool:
        return False  # a pipe keeps what was written for as long as its reader lives

    def ended(self) -> bool:
        return bool(poll(self._in, 0) & select.POLLHUP)

    def release(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
        # Cleared first, so that nothing is closed twice; closed immediately afterwards,
        # with no call in between at which a signal handler could run.
        with fork.lock:
            fd, self._out = self._out, NONE
            if fd != NONE:
                os.close(fd)
            fd, self._in = self._in, NONE
            if fd != NONE:
                os.close(fd)

    def _grow(self) -> None:
        """Enlarge a pipe once, when it has proved too small.

        Not from the start: the kernel limits the pages that all pipes of a user may
        have, so pipes that carry little should not claim them.
        """
        if self._grown or not hasattr(fcntl, "F_SETPIPE_SZ"):
            return
        self._grown = True
        with contextlib.suppress(OSError):  # over the user's quota: keep the size
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _CAPACITY)

    def peer_gone(self) -> bool:
        return self._out == NONE or bool(poll(self._out, 0) & select.POLLERR)

    def wait_out_stray_opener(self) -> None:
        """Poll until a writer has opened the pipe, or the peer's reader has gone.

        The loop cannot watch meanwhile: a stray opener leaves a hang-up behind, which
        would be reported again and again. Nor does this end of stream prove that the
        peer has ended: between closing its first pipe and its second, it looks the same.
        """
        self.stop_reading()
        self._stray_opener_left = True

        def check() -> None:
            if self._in == NONE:
                return
            again = self.loop.call_later(RECHECK, check)  # first, as the rest may raise
            if self.peer_gone() or poll(self._in, select.POLLIN) != select.POLLHUP:
                self.start_reading(self._on_readable)
                again.cancel()

        self.loop.call_later(RECHECK, check)


def close(*fds: int) -> None:
    """Close the descriptors that are open."""
    for fd in fds:
        if fd != NONE:
            os.close(fd)


def poll(fd: int, events: int) -> int:
    """Return which of ``events``, and which errors and hang-ups, ``fd`` has now."""
    poller = select.poll()
    poller.register(fd, events)
    return sum(found for _, found in poller.poll(0))
