"""The transport over named pipes (spec/rendezvous.md, "Named pipes").

Both ends do the same: open the pipe they read from without blocking, then try
to open the pipe they write to until the other end reads from it. That meets a
peer whatever order it opens in, and nobody ever blocks in ``open``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import select
from collections.abc import Callable, Sequence
from typing import Unpack

from ipc_channel import rendezvous
from ipc_channel.endpoint import Endpoint, Options, default_logger
from ipc_channel.errors import BadRendezvousError
from ipc_channel.interface import IPCChannel
from ipc_channel.stream import Stream, backoff, nothing

with contextlib.suppress(ImportError):  # Windows, which has no POSIX named pipes
    import fcntl

_CAPACITY = 2**20  # bytes: as much as Linux gives to an unprivileged process
_RECHECK = 0.02  # seconds
_NONE = -1  # stands for a descriptor that is not open
_SETTLED = 0.25  # seconds; clients that follow the specification take 25 ms


class PipeStream(Stream):
    """A pair of open named pipes; there is no ``out_fd`` if the peer has left already."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, in_fd: int, out_fd: int, early: bytes
    ) -> None:
        super().__init__(loop)
        self.early = early
        self.on_settled: Callable[[], None] = nothing
        """Called once it is certain that this is a session, and nobody comes in between."""
        self._settling: asyncio.TimerHandle | None = None
        self._in = in_fd
        self._out = out_fd
        self._proven = bool(early)  # a byte has come, so that an end is the peer's
        self._passed_by = False  # somebody else has come and gone
        self._grown = False

    def in_fd(self) -> int:
        return self._in

    def out_fd(self) -> int:
        return self._out

    def read(self, size: int) -> bytes:
        # Asked before reading: who comes, writes and leaves in between is heard.
        gone = self._proven or self._peer_gone()
        data = os.read(self._in, size)
        if not self._proven:
            if not (data or gone):
                self._wait_out_passer_by()
                raise BlockingIOError(errno.EAGAIN, "a passer-by has left")
            self._proven = True
            self.on_settled()
        return data

    def settle_later(self) -> None:
        """Settle at the first byte, or when a peer that is silent has been there a while."""
        if self._proven:
            self.on_settled()
        else:
            self._settling = self.loop.call_later(_SETTLED, self._settle)

    def _settle(self) -> None:
        if not self._passed_by:
            self.on_settled()

    def read_into(self, room: memoryview) -> int:
        return os.readv(self._in, [room])

    def write(self, buffers: Sequence[bytes | memoryview]) -> int:
        if self._out == _NONE:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        try:
            return os.writev(self._out, buffers)
        except BlockingIOError:
            self._grow()
            raise

    def finish_writing(self) -> bool:
        return False  # a pipe keeps what was written for as long as its reader lives

    def ended(self) -> bool:
        return bool(_poll(self._in, 0) & select.POLLHUP)

    def release(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
        _close(self._out, self._in)
        self._in = self._out = _NONE

    def _grow(self) -> None:
        """Enlarge a pipe that proved too small, once.

        Not from the start: the kernel gives each user only so many pages, and
        pipes that carry little should leave them to others.
        """
        if self._grown or not hasattr(fcntl, "F_SETPIPE_SZ"):
            return
        self._grown = True
        with contextlib.suppress(OSError):  # over the user's quota: stay as we are
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _CAPACITY)

    def _peer_gone(self) -> bool:
        return self._out == _NONE or bool(_poll(self._out, 0) & select.POLLERR)

    def _wait_out_passer_by(self) -> None:
        """Look now and then whether a writer has come, or the reader has left.

        Watching is no use meanwhile: the hang-up that a passer-by leaves behind
        stays. Nor is an end of stream the peer's end for sure: one that closes
        its two pipes one after the other looks the same for a moment.
        """
        self.stop_reading()
        self._passed_by = True

        def check() -> None:
            if self._in == _NONE:
                return
            if self._peer_gone() or _poll(self._in, select.POLLIN) != select.POLLHUP:
                self.start_reading(self._on_readable)
            else:
                self.loop.call_later(_RECHECK, check)

        self.loop.call_later(_RECHECK, check)


def _close(*fds: int) -> None:
    for fd in fds:
        if fd != _NONE:
            os.close(fd)


def _poll(fd: int, events: int) -> int:
    """Return what is true of ``fd`` now, of ``events`` and of errors and hang-ups."""
    poller = select.poll()
    poller.register(fd, events)
    return sum(found for _, found in poller.poll(0))


class _Opening:
    """The two pipes on the way to a connection.

    What has been met of a peer as ``connect`` ends stays open for the next one.
    """

    _in: int
    _out: int
    _early: bytes  # what was read on finding that somebody writes

    def __init__(self, address: rendezvous.PipeAddress) -> None:
        self._address = address
        self._forget()

    def attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        """Open what can be opened; return a stream once the peer is there."""
        if self._in == _NONE:
            _check_path(self._address.out_path)  # before anything is opened
            self._in = _open_pipe(self._address.in_path, os.O_RDONLY)
        if self._in == _NONE or not (self._has_left() or self._has_met()):
            return None
        stream = PipeStream(loop, self._in, self._out, self._early)
        self._forget()
        return stream

    @property
    def hindrance(self) -> str:
        """What the last attempt lacked."""
        if self._in == _NONE:
            return f"{self._address.in_path!r} does not exist"
        if not self._is_read():
            return f"{self._address.out_path!r} does not exist, or nobody reads it"
        return f"nobody writes to {self._address.in_path!r}"

    @property
    def is_open(self) -> bool:
        return self._in != _NONE

    def close_unless_met(self) -> None:
        """Close what is open, unless somebody holds one of the other ends.

        It is about to open the other one, or thinks that it is met.
        """
        if not (self.is_open and self._has_met_half()):
            self.close()

    def close(self) -> None:
        """Close what is open."""
        _close(self._in, self._out)
        self._forget()

    def _forget(self) -> None:
        self._in = self._out = _NONE
        self._early = b""

    def _has_left(self) -> bool:
        """Whether the peer came, wrote and left: what it wrote is to be delivered.

        Its names may have gone with it, so that this comes before any look at them.
        """
        return self._has_input() and bool(_poll(self._in, 0) & select.POLLHUP)

    def _has_met(self) -> bool:
        """Whether the peer holds both of its ends, or has left its bytes."""
        if self._out == _NONE and not self._open_out():
            return False
        # The reader first: who comes, writes and leaves in between has left its bytes.
        if (self._is_read() and self._has_writer()) or self._has_input():
            return True
        # What a passer-by leaves stays open, since the peer may just be opening its ends.
        if self._is_replaced() and not self._has_input():
            self.close()
        return False

    def _is_read(self) -> bool:
        return self._out != _NONE and not _poll(self._out, 0) & select.POLLERR

    def _has_met_half(self) -> bool:
        return self._is_read() or self._has_input() or self._has_writer()

    def _has_input(self) -> bool:
        return bool(self._early or _poll(self._in, select.POLLIN) & select.POLLIN)

    def _has_writer(self) -> bool:
        """Whether somebody could write, or has, which only a read tells."""
        try:
            self._early += os.read(self._in, 1)
        except BlockingIOError:
            return True
        return bool(self._early)

    def _open_out(self) -> bool:
        """Open the pipe to write to, if somebody reads it and both names are still right."""
        self._out = _open_pipe(self._address.out_path, os.O_WRONLY)
        if self._is_replaced():
            self.close()
        elif self._out != _NONE and os.path.sameopenfile(self._in, self._out):
            in_path, out_path = self._address.in_path, self._address.out_path
            raise BadRendezvousError(
                f"bad rendezvous {in_path!r} and {out_path!r}: the same pipe"
            )
        return self._out != _NONE

    def _is_replaced(self) -> bool:
        """Whether a path leads to another pipe by now: the server is one session ahead."""
        return _is_other(self._address.in_path, self._in) or _is_other(
            self._address.out_path, self._out
        )


def _is_other(path: str, fd: int) -> bool:
    if fd == _NONE:
        return False
    try:
        return not os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return True


def _open_pipe(path: str, mode: int) -> int:
    """Open a named pipe; ``_NONE`` if it does not exist, or nobody reads it, yet.

    Raises BadRendezvousError for anything but a named pipe of our own user.
    """
    _check_path(path)  # opening some devices has effects
    try:
        fd = os.open(path, mode | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        _raise_unless_missing(path, error)
        return _NONE
    try:
        rendezvous.check_fifo(path, os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_path(path: str) -> None:
    """Raise BadRendezvousError if ``path`` is there, but no named pipe of our own user."""
    try:
        rendezvous.check_fifo(path, os.lstat(path))
    except OSError as error:
        _raise_unless_missing(path, error)


def _raise_unless_missing(path: str, error: OSError) -> None:
    """Raise unless ``error`` says that a pipe, or its reader, is not there yet."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise error  # not the rendezvous is bad, but our own state
    if error.errno not in (errno.ENOENT, errno.ENXIO):
        raise BadRendezvousError(f"bad rendezvous {path!r}: {error.strerror}") from error


class PosixNamedPipeProtocol(Endpoint):
    """One end of a pair of named pipes that exist, or will.

    ``in_path`` is read from and ``out_path`` written to. ``connect`` waits
    while a pipe is missing and refuses what is not a named pipe of our own
    user. Options are those of :func:`ipc_channel.make_ipc_channel_client`.
    """

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        rendezvous.check_named_pipes_exist()
        address = rendezvous.parse(in_path, out_path)
        if not isinstance(address, rendezvous.PipeAddress):
            raise BadRendezvousError(f"bad rendezvous {in_path!r}: not a named pipe")
        super().__init__(logger, loop, **options)
        self._address = address
        self._pipes = _Opening(address)

    def _describe(self) -> str:
        return f"in={self._address.in_path!r} out={self._address.out_path!r}"

    async def _open(self, deadline: float) -> PipeStream | None:
        loop = asyncio.get_running_loop()
        try:
            for pause in backoff(deadline):
                stream = self._pipes.attempt(loop)
                if stream is not None:
                    return stream
                await asyncio.sleep(pause)
            return self._pipes.attempt(loop)
        except Exception:
            self._pipes.close()
            raise
        finally:
            self._hindrance = self._pipes.hindrance
            self._pipes.close_unless_met()

    def _holds_something(self) -> bool:
        return self._pipes.is_open or super()._holds_something()

    def _dispose(self) -> None:
        self._pipes.close()


class PosixNamedPipeChannelClient(PosixNamedPipeProtocol):
    """The client of a channel over named pipes."""


class PosixNamedPipeChannel(PosixNamedPipeProtocol, IPCChannel):
    """The server of a channel over named pipes in a fresh private directory.

    The directory exists from construction to ``close``. Options are those of
    :func:`ipc_channel.make_ipc_channel`.
    """

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._directory = directory = rendezvous.PrivateDirectory()
        try:
            super().__init__(directory.in_path, directory.out_path, logger, loop, **options)
        except BaseException:
            directory.remove()
            raise

    @property
    def in_path(self) -> str:
        return self._address.in_path

    @property
    def out_path(self) -> str:
        return self._address.out_path

    async def _open(self, deadline: float) -> PipeStream | None:
        self._directory.refresh()
        stream = await super()._open(deadline)
        if stream is not None:
            self._directory.used = True
            stream.on_end = stream.on_settled = self._directory.try_refresh
            stream.settle_later()
        return stream

    def _holds_something(self) -> bool:
        return True

    def _dispose(self) -> None:
        super()._dispose()
        self._directory.remove()
