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
from ipc_channel.aio.readiness import is_level_triggered
from ipc_channel.aio.stream import Stream
from ipc_channel.transports.peer_user import peer_user

if sys.platform == "linux":
    import fcntl
    import termios


# A program may keep the default action of SIGPIPE, which would kill it.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class SocketStream(Stream):
    """A connected socket, which the stream owns."""

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
        self.level_triggered = is_level_triggered(loop)
        self._socket = sock
        self._finished = False  # writing was shut down
        # Whether a process is known to hold the other end; true from the start except TCP.
        self._accepted = sock.family not in (socket.AF_INET, socket.AF_INET6)
        sock.setblocking(False)
        self._set_up(sock)

    def _set_up(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # not TCP, or already disconnected
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
        with contextlib.suppress(OSError):  # the connection is gone: reads report it
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
            # A child that was forked without our hook may hold a copy of the socket; the
            # shutdown makes the peer's writes fail even then.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
            self._drop_input()
        fork.close(self._socket)

    def _drop_input(self) -> None:
        """Drop what has not been read, where that spares the peer a reset."""

    def is_accepted(self) -> bool:
        """Whether the server's process holds the other end, or has held it.

        A client that closes its socket before loses what it sent: the kernel can no
        longer tell the server which user owned the socket, so the server refuses the
        connection (RDV-48).
        """
        # If no descriptor is free for the query, wait for the peer's end of stream.
        with contextlib.suppress(OSError):
            self._accepted = self._accepted or peer_user(self._socket) is not None
        return self._accepted

    def ended(self) -> bool:
        return hasattr(select, "POLLRDHUP") and bool(self._poll(select.POLLRDHUP))

    def broken(self) -> bool:
        """Whether the connection has failed, even if a read or write has reported that."""
        return hasattr(select, "poll") and bool(self._poll(0))

    def _poll(self, events: int) -> int:
        """Return which of ``events``, and which errors and hang-ups, the socket has now."""
        poller = select.poll()
        poller.register(self._socket, events)
        return sum(found for _, found in poller.poll(0))


def is_writable(sock: socket.socket) -> bool:
    """Whether there is room to write, or an error to report."""
    if not hasattr(select, "poll"):
        _, writable, failed = select.select((), (sock,), (sock,), 0)
        return bool(writable or failed)
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    return bool(poller.poll(0))


def has_left_silently(sock: socket.socket) -> bool:
    """Whether a peer has gone again without having sent anything."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
