"""A connection that asyncio's own streams have begun, taken over by a session."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from typing import cast

from ipc_channel import fork
from ipc_channel.errors import NotConnectedError
from ipc_channel.transports.tcp_stream import SocketStream


def adopt(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    loop: asyncio.AbstractEventLoop,
) -> SocketStream:
    """Take the socket, and what was read from it, away from a pair of asyncio streams.

    Their transport gives up the rest of the input when a write fails, so it
    cannot carry a session that delivers whatever arrived.
    """
    sock = writer.get_extra_info("socket")
    if writer.get_extra_info("ssl_object") is not None:
        raise ValueError("the streams are over TLS, not over a bare socket")
    if sock is None or sock.fileno() < 0 or writer.is_closing():
        raise NotConnectedError("the streams are not over an open socket")
    if (error := reader.exception()) is not None:
        raise error
    duplicate = fork.hold(lambda: socket.socket(fileno=os.dup(sock.fileno())))
    # Neither waits: the reader is told that nothing follows what it holds.
    reader.feed_eof()
    try:
        reader.read().send(None)
    except StopIteration as held:
        transport = cast(asyncio.Transport, writer.transport)
        return AdoptedStream(loop, duplicate, held.value, transport)
    raise AssertionError("unreachable: reading what is there does not wait")


class AdoptedStream(SocketStream):
    """The socket of an asyncio transport, which is let go once its output has gone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        initial_data: bytes,
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(loop, sock, initial_data)
        self._transport: asyncio.Transport | None = transport
        # The loop closes it some time after it was let go, in a later turn.
        number = transport.get_extra_info("socket").fileno()
        self._original = fork.ForeignDescriptor(number)
        transport.pause_reading()
        self._release_transport()

    def read(self, size: int) -> bytes:
        data = super().read(size)
        self._check(len(data))
        return data

    def read_into(self, room: memoryview) -> int:
        count = super().read_into(room)
        self._check(count)
        return count

    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        if not self._release_transport():
            if self.broken():  # which the loop may not tell again
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            raise BlockingIOError(errno.EAGAIN, "output from before the session is waiting")
        return super().write(buffers)

    def release(self) -> None:
        self._release_transport(at_once=True)
        super().release()

    def leave(self) -> None:
        self._transport = None  # to let it go is the parent's
        with contextlib.suppress(OSError):  # which it has done
            self._original.replace()
        super().leave()

    def _check(self, count: int) -> None:
        """Take an end for the reset that it was, if the transport has met it first."""
        self._release_transport()
        if count == 0 and self._failed:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def _release_transport(self, *, at_once: bool = False) -> bool:
        """Have the transport close its own descriptor, which is not the connection."""
        if self._transport is None:
            return True
        self._failed = self._transport.is_closing()  # it has met a reset before us
        if self._transport.get_write_buffer_size() and not (at_once or self._failed):
            return False
        self._transport.abort()
        self._transport = None
        return True
