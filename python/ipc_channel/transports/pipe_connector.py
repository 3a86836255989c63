"""How a pair of named pipes becomes a connection (spec/rendezvous.md, "Named pipes").

Both ends do the same: open the pipe they read from without blocking, then try
to open the pipe they write to until the other end reads from it. That meets a
peer whatever order it opens in, and nobody ever blocks in ``open``.
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

    What has been met of a peer as ``connect`` ends stays open for the next one.
    """

    _in: int
    _out: int
    _initial_data: bytes  # what was read on finding that somebody writes

    def __init__(self, address: PipeAddress, *, is_server: bool = False) -> None:
        self._address = address
        self._is_server = is_server  # has made the pipes
        self._forget()
        fork.in_child(self, PipeConnector.close)

    def attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        """Open what can be opened; return a stream once the peer is there."""
        if self._out == NONE:
            self.check_paths()  # before anything is opened
        if self._in == NONE:
            with fork.lock:
                self._in = open_pipe(self._address.in_path, os.O_RDONLY)
        if self._in == NONE:
            return None
        self._tell_who_reads()
        # No new `out` beside an old `in`: they are not a pair.
        if self._out == NONE and not self.has_left() and not self.path_was_replaced():
            with fork.lock:
                self._out = open_pipe(self._address.out_path, os.O_WRONLY)
        if not self.sees_peer():
            if not self.path_was_replaced():
                return None
            # The peer may have come, written and left, with its names, in between.
            if not self.sees_peer():
                self.close()
                return None
        with fork.lock:
            stream = PipeStream(loop, self._in, self._out, self._initial_data)
            self._forget()
        return stream

    @property
    def last_attempt(self) -> str:
        """What the last attempt lacked."""
        if self._in == NONE:
            return f"{self._address.in_path!r} does not exist"
        if self.is_read():
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
        self._initial_data = b""

    def has_left(self) -> bool:
        """Whether the peer came, wrote and left: what it wrote is to be delivered."""
        return self._has_input() and bool(poll(self._in, 0) & select.POLLHUP)

    def sees_peer(self) -> bool:
        """Whether the peer holds both of its ends, or has left its bytes.

        What a stray opener leaves stays open otherwise, since the peer may just be
        opening its ends.
        """
        if self._out == NONE:
            return self.has_left()
        # The reader is looked for before and after: one stray opener may read, and
        # have left by the time that another one writes.
        is_read = self.is_read()
        if self._has_input():
            return True
        return (
            is_read and self.has_writer() and (bool(self._initial_data) or self.is_read())
        )

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

    def is_read(self) -> bool:
        return self._out != NONE and not poll(self._out, 0) & select.POLLERR

    def _has_met_half(self) -> bool:
        return self.is_read() or self._has_input() or self.has_writer()

    def _has_input(self) -> bool:
        return bool(self._initial_data or poll(self._in, select.POLLIN) & select.POLLIN)

    def has_writer(self) -> bool:
        """Whether somebody could write, or has, which only a read tells."""
        try:
            self._initial_data += os.read(self._in, 1)
        except BlockingIOError:
            return True
        return bool(self._initial_data)

    def path_was_replaced(self) -> bool:
        """Whether ``in`` is not what its path leads to any more."""
        try:
            there = os.lstat(self._address.in_path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not os.path.samestat(there, os.fstat(self._in))

    def check_paths(self) -> None:
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


def open_pipe(path: str, mode: int) -> int:
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
