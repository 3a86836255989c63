"""A connected socket as a stream."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import sys
from collections.abc import Sequence

from ipc_channel import fork
from ipc_channel.aio.stream import Stream
from ipc_channel.transports.peer_user import peer_user

if sys.platform == "linux":
    import fcntl
    import termios


# A program may have SIGPIPE at its default, which would end it.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class SocketStream(Stream):
    """A connected socket, which the stream owns from now on."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        initial_data: bytes = b"",
        *,
        was_reset: bool = False,
    ) -> None:
        super().__init__(loop)
        self.initial_data = initial_data
        self.was_reset = was_reset
        # libuv tells of a reset once, along with the data before it.
        self.level_triggered = isinstance(loop, asyncio.SelectorEventLoop)
        self._socket = sock
        self._finished = False  # writing was shut down
        # Whether a process is known to hold the other end; others than TCP begin that way.
        self._accepted = sock.family not in (socket.AF_INET, socket.AF_INET6)
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # not TCP, or gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def in_fd(self) -> int:
        return self._socket.fileno()

    def out_fd(self) -> int:
        return self._socket.fileno()

    def read(self, size: int) -> bytes:
        return self._socket.recv(size)

    def read_into(self, room: memoryview) -> int:
        return self._socket.recv_into(room)

    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        if len(buffers) > 1 and hasattr(self._socket, "sendmsg"):
            return self._socket.sendmsg(buffers, (), _NO_SIGNAL)
        return self._socket.send(buffers[0], _NO_SIGNAL)

    def finish_writing(self) -> bool:
        with contextlib.suppress(OSError):  # the connection is gone: reading tells
            self._socket.shutdown(socket.SHUT_WR)
        self._finished = True
        return True

    def unsent(self) -> int | None:
        if sys.platform != "linux":
            return None
        answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, struct.pack("i", 0))
        (count,) = struct.unpack("i", answer)
        return int(count)

    def delivered(self) -> bool:
        return self.unsent() == 0 and self.is_accepted()

    def release(self) -> None:
        if self._finished and self.process.runs:
            # A child that was forked without our hook may hold a copy: the peer's writes
            # fail all the same.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
        fork.close(self._socket)

    def is_accepted(self) -> bool:
        """Whether a process holds the other end, or has.

        While the server has not let us in, leaving would make us nobody's
        (RDV-48), and it would turn away what we sent.
        """
        # Without a descriptor for asking, the peer's end of the stream has to tell.
        with contextlib.suppress(OSError):
            self._accepted = self._accepted or peer_user(self._socket) is not None
        return self._accepted

    def ended(self) -> bool:
        return hasattr(select, "POLLRDHUP") and bool(self._poll(select.POLLRDHUP))

    def broken(self) -> bool:
        """Whether the connection has failed, whoever has been told so already."""
        return hasattr(select, "poll") and bool(self._poll(0))

    def _poll(self, events: int) -> int:
        """Return what is true of the socket now, of ``events`` and of errors and hang-ups."""
        poller = select.poll()
        poller.register(self._socket, events)
        return sum(found for _, found in poller.poll(0))


def is_writable(sock: socket.socket) -> bool:
    """Whether there is room to write, or an error to be told."""
    if not hasattr(select, "poll"):
        _, writable, failed = select.select((), (sock,), (sock,), 0)
        return bool(writable or failed)
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    return bool(poller.poll(0))
