"""How a pair of named pipes becomes a connection (spec/rendezvous.md, "Named pipes").

Both ends follow the same steps: open the pipe they read from without blocking, then
try to open the pipe they write to until the other end reads from it. This works in
whatever order the two ends open their pipes, and neither end ever blocks in ``open``.
"""

from __future__ import annotations

import asyncio
import os
import select

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports import pipe_files
from ipc_channel.transports.pipe_address import PipeAddress
from ipc_channel.transports.pipe_stream import NONE, PipeStream, close, poll


class PipeConnector:
    """Opens the two pipes of a rendezvous until the peer holds its ends of them.

    If the peer holds only one end when ``connect`` times out, the pipes stay open for
    the next ``connect``.
    """

    in_fd: int
    out_fd: int
    _initial_data: bytes  # was read while looking for a writer

    def __init__(self, address: PipeAddress, *, is_server: bool = False) -> None:
        self.address = address
        self._is_server = is_server  # has made the pipes
        self.forget()
        fork.in_child(self, PipeConnector.close)

    def attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        """Open what can be opened; return a stream once the peer is there."""
        if self.out_fd == NONE:
            self.check_paths()  # before anything is opened
        if self.in_fd == NONE:
            with fork.lock:
                self.in_fd = open_pipe(self.address.in_path, os.O_RDONLY)
        if self.in_fd == NONE:
            return None
        self._tell_who_reads()
        # No new `out` beside an old `in`: they are not a pair.
        if self.out_fd == NONE and not self.has_left() and not self.path_was_replaced():
            with fork.lock:
                self.out_fd = open_pipe(self.address.out_path, os.O_WRONLY)
        if not self.sees_peer():
            if not self.path_was_replaced():
                return None
            # In between, the peer may have connected, written, and removed the pipes.
            if not self.sees_peer():
                self.close()
                return None
        with fork.lock:
            stream = PipeStream(loop, self.in_fd, self.out_fd, self._initial_data)
            self.forget()
        return stream

    @property
    def last_attempt(self) -> str:
        """Why the last attempt failed."""
        in_path, out_path = self.address.in_path, self.address.out_path
        if self.in_fd == NONE:
            return f"{in_path!r} does not exist; check that the server is running"
        if self.is_read():
            return (
                f"no process has {in_path!r} open for writing; check that the peer opens"
                " both pipes"
            )
        if not os.path.lexists(out_path):
            return f"{out_path!r} does not exist; check that the server is running"
        if self._is_server:
            return (
                f"no process has {out_path!r} open for reading; check that the client is"
                " running, and that its in_path is this path"
            )
        return (
            f"no process has {out_path!r} open for reading; check that the server is"
            " running, and that in and out are not swapped: in_path is the server's"
            " out_path, and out_path is its in_path"
        )

    @property
    def is_open(self) -> bool:
        return self.in_fd != NONE

    def close_unless_met(self) -> None:
        """Close what is open, unless another process holds one of the peer's ends.

        That process may be about to open its other end, or takes itself for connected.
        """
        if not (self.is_open and self._has_met_half()):
            self.close()

    def close(self) -> None:
        """Close what is open."""
        with fork.lock:
            close(self.in_fd, self.out_fd)
            self.forget()

    def forget(self) -> None:
        self.in_fd = self.out_fd = NONE
        self._initial_data = b""

    def has_left(self) -> bool:
        """Whether the peer connected, wrote and left: what it wrote must be delivered."""
        return self.has_input() and bool(poll(self.in_fd, 0) & select.POLLHUP)

    def sees_peer(self) -> bool:
        """Whether the peer holds both of its ends, or has written and left.

        Otherwise the pipes stay open, also after a stray opener, since the peer may
        be opening its ends at this moment.
        """
        if self.out_fd == NONE:
            return self.has_left()
        # Look for the reader both before and after: one stray opener may open the pipe
        # for reading, and close it before another one opens the other pipe for writing.
        is_read = self.is_read()
        if self.has_input():
            return True
        return (
            is_read and self.has_writer() and (bool(self._initial_data) or self.is_read())
        )

    def _tell_who_reads(self) -> None:
        """Server: mark ``in`` as its own to read. Client: refuse a pipe so marked."""
        if self.out_fd != NONE:
            return
        if self._is_server:
            pipe_files.mark_as_read_by_server(self.in_fd)
        elif pipe_files.is_read_by_server(self.in_fd):
            in_path, out_path = self.address.in_path, self.address.out_path
            raise BadRendezvousError(
                f"bad rendezvous {in_path!r} and {out_path!r}: in and out are swapped,"
                " because the server itself reads from the first; pass the server's"
                " out_path as in_path, and its in_path as out_path"
            )

    def is_read(self) -> bool:
        return self.out_fd != NONE and not poll(self.out_fd, 0) & select.POLLERR

    def _has_met_half(self) -> bool:
        return self.is_read() or self.has_input() or self.has_writer()

    def has_input(self) -> bool:
        return bool(self._initial_data or poll(self.in_fd, select.POLLIN) & select.POLLIN)

    def has_writer(self) -> bool:
        """Whether a process has ``in`` open for writing, or has written: a read tells."""
        try:
            self._initial_data += os.read(self.in_fd, 1)
        except BlockingIOError:
            return True
        return bool(self._initial_data)

    def path_was_replaced(self) -> bool:
        """Whether the path of ``in`` no longer leads to the pipe that is open."""
        try:
            there = os.lstat(self.address.in_path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not os.path.samestat(there, os.fstat(self.in_fd))

    def check_paths(self) -> None:
        """Raise BadRendezvousError unless the paths lead to two pipes of our user.

        Opens nothing, because opening has side effects on some devices.
        """
        there = (
            pipe_files.check_path(self.address.in_path),
            pipe_files.check_path(self.address.out_path),
        )
        if there[0] and there[1] and os.path.samestat(there[0], there[1]):
            in_path, out_path = self.address.in_path, self.address.out_path
            raise BadRendezvousError(
                f"bad rendezvous {in_path!r} and {out_path!r}: both lead to the same pipe;"
                " pass the paths of two pipes"
            )


def open_pipe(path: str, mode: int) -> int:
    """Open a named pipe; ``NONE`` if it does not exist, or has no reader, yet.

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
