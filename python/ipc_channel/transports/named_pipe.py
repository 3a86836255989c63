"""The transport over named pipes (spec/rendezvous.md, "Named pipes").

Both ends do the same: open the pipe they read from without blocking, then try
to open the pipe they write to until the other end reads from it. That meets a
peer whatever order it opens in, and nobody ever blocks in ``open``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
from typing import Unpack

from ipc_channel import fork
from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.stream import backoff
from ipc_channel.channel import IPCChannel
from ipc_channel.errors import BadRendezvousError
from ipc_channel.options import Options, default_logger
from ipc_channel.protocol import rendezvous
from ipc_channel.transports import pipe_files
from ipc_channel.transports.pipe_stream import NONE, PipeStream, close, poll
from ipc_channel.transports.private_directory import PrivateDirectory


class _Opening:
    """The two pipes on the way to a connection.

    What has been met of a peer as ``connect`` ends stays open for the next one.
    """

    _in: int
    _out: int
    _early: bytes  # what was read on finding that somebody writes

    def __init__(self, address: rendezvous.PipeAddress, *, is_server: bool = False) -> None:
        self._address = address
        self._is_server = is_server  # has made the pipes
        self._forget()
        fork.in_child(self, _Opening.close)

    def attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        """Open what can be opened; return a stream once the peer is there."""
        if self._out == NONE:
            self._check_paths()  # before anything is opened
        if self._in == NONE:
            with fork.lock:
                self._in = _open_pipe(self._address.in_path, os.O_RDONLY)
        if self._in == NONE:
            return None
        self._tell_who_reads()
        # No new `out` beside an old `in`: they are not a pair.
        if self._out == NONE and not self._has_left() and not self._is_elsewhere():
            with fork.lock:
                self._out = _open_pipe(self._address.out_path, os.O_WRONLY)
        if not self._sees_peer():
            if not self._is_elsewhere():
                return None
            # The peer may have come, written and left, with its names, in between.
            if not self._sees_peer():
                self.close()
                return None
        with fork.lock:
            stream = PipeStream(loop, self._in, self._out, self._early)
            self._forget()
        return stream

    @property
    def hindrance(self) -> str:
        """What the last attempt lacked."""
        if self._in == NONE:
            return f"{self._address.in_path!r} does not exist"
        if self._is_read():
            return f"nobody writes to {self._address.in_path!r}"
        if not os.path.lexists(self._address.out_path):
            return f"{self._address.out_path!r} does not exist"
        if self._is_server:
            return (
                f"nobody reads {self._address.out_path!r}: the client did not come, "
                "or it was not told to read from there"
            )
        return (
            f"nobody reads {self._address.out_path!r}: the server is not there, "
            "or in and out are swapped: in_path is to be its out_path, out_path its in_path"
        )

    @property
    def is_open(self) -> bool:
        return self._in != NONE

    def close_unless_met(self) -> None:
        """Close what is open, unless somebody holds one of the other ends.

        It is about to open the other one, or thinks that it is met.
        """
        if not (self.is_open and self._has_met_half()):
            self.close()

    def close(self) -> None:
        """Close what is open."""
        with fork.lock:
            close(self._in, self._out)
            self._forget()

    def _forget(self) -> None:
        self._in = self._out = NONE
        self._early = b""

    def _has_left(self) -> bool:
        """Whether the peer came, wrote and left: what it wrote is to be delivered."""
        return self._has_input() and bool(poll(self._in, 0) & select.POLLHUP)

    def _sees_peer(self) -> bool:
        """Whether the peer holds both of its ends, or has left its bytes.

        What a passer-by leaves stays open otherwise, since the peer may just be
        opening its ends.
        """
        if self._out == NONE:
            return self._has_left()
        # Whoever reads is looked for before and after: one passer-by may read, and
        # have left by the time that another one writes.
        is_read = self._is_read()
        if self._has_input():
            return True
        return is_read and self._has_writer() and (bool(self._early) or self._is_read())

    def _tell_who_reads(self) -> None:
        """As a server say that we read ``in``; as a client refuse what a server reads."""
        if self._out != NONE:
            return
        if self._is_server:
            pipe_files.mark_as_read_by_server(self._in)
        elif pipe_files.is_read_by_server(self._in):
            in_path, out_path = self._address.in_path, self._address.out_path
            raise BadRendezvousError(
                f"bad rendezvous {in_path!r} and {out_path!r}: in and out are swapped, "
                "as the server reads from the first of them; pass the server's out_path as"
                " in_path, and its in_path as out_path"
            )

    def _is_read(self) -> bool:
        return self._out != NONE and not poll(self._out, 0) & select.POLLERR

    def _has_met_half(self) -> bool:
        return self._is_read() or self._has_input() or self._has_writer()

    def _has_input(self) -> bool:
        return bool(self._early or poll(self._in, select.POLLIN) & select.POLLIN)

    def _has_writer(self) -> bool:
        """Whether somebody could write, or has, which only a read tells."""
        try:
            self._early += os.read(self._in, 1)
        except BlockingIOError:
            return True
        return bool(self._early)

    def _is_elsewhere(self) -> bool:
        """Whether ``in`` is not what its path leads to any more."""
        try:
            there = os.lstat(self._address.in_path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not os.path.samestat(there, os.fstat(self._in))

    def _check_paths(self) -> None:
        """Raise BadRendezvousError if a path is no pipe of ours, or both are one.

        Without opening anything: with some devices that has effects.
        """
        there = (
            pipe_files.check_path(self._address.in_path),
            pipe_files.check_path(self._address.out_path),
        )
        if there[0] and there[1] and os.path.samestat(there[0], there[1]):
            in_path, out_path = self._address.in_path, self._address.out_path
            raise BadRendezvousError(
                f"bad rendezvous {in_path!r} and {out_path!r}: the same pipe"
            )


def _open_pipe(path: str, mode: int) -> int:
    """Open a named pipe; ``NONE`` if it does not exist, or nobody reads it, yet.

    Raises BadRendezvousError for anything but a named pipe of our own user.
    """
    try:
        fd = os.open(path, mode | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        pipe_files.raise_unless_missing(path, error)
        return NONE
    try:
        pipe_files.check_fifo(path, os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


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
        self._pipes = _Opening(address, is_server=isinstance(self, IPCChannel))

    def _describe(self) -> str:
        return f"in={self._address.in_path!r} out={self._address.out_path!r}"

    async def _open(self, deadline: float) -> PipeStream | None:
        loop = asyncio.get_running_loop()
        try:
            for pause in backoff(loop, deadline):
                stream = self._attempt(loop)
                if stream is not None:
                    return stream
                await asyncio.sleep(pause)
            return self._attempt(loop)
        finally:
            self._last_attempt = self._pipes.hindrance
            self._leave_pipes()

    def _attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        return self._pipes.attempt(loop)

    def _leave_pipes(self) -> None:
        """Leave nothing open when connect ends."""
        self._pipes.close()

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
        self._directory = directory = PrivateDirectory()
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

    def _attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        self._directory.refresh()  # each time: a cleaner may come while connect waits
        stream = super()._attempt(loop)
        if stream is not None:
            self._directory.used = True
            stream.on_end = stream.on_settled = self._directory.try_refresh
            stream.settle_later()
        return stream

    def _leave_pipes(self) -> None:
        # A helper that has begun to come does not come twice.
        self._pipes.close_unless_met()

    def _forget_peer(self) -> None:
        self._pipes.close()
        self._directory.used = True  # it may have written to them
        # At once: the next helper may open them before the next connect looks.
        self._directory.try_refresh()

    def _holds_something(self) -> bool:
        return True

    def _dispose(self) -> None:
        super()._dispose()
        self._directory.remove()
