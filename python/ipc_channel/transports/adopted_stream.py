"""A connection of asyncio's own streams, taken over by a session."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Sequence
from typing import cast

from ipc_channel import fork
from ipc_channel.aio.readiness import watches_itself
from ipc_channel.aio.stream import Stream
from ipc_channel.errors import NotConnectedError
from ipc_channel.transports.socket_stream import SocketStream
from ipc_channel.transports.transport_stream import TransportStream


def adopt(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    loop: asyncio.AbstractEventLoop,
) -> Stream:
    """Take the socket, and the data read from it, away from a pair of asyncio streams.

    Their transport discards the rest of the input when a write fails, but a session
    must deliver all that arrived. So it uses that transport only in a loop that could
    not watch the socket.
    """
    sock = writer.get_extra_info("socket")
    if writer.get_extra_info("ssl_object") is not None:
        raise ValueError("the streams use TLS; pass streams over a plain socket")
    if sock is None or sock.fileno() < 0 or writer.is_closing():
        raise NotConnectedError(
            "the streams have no open socket; pass streams that are connected"
        )
    if (error := reader.exception()) is not None:
        raise error
    transport = cast(asyncio.Transport, writer.transport)
    if not watches_itself(loop):
        held, at_end = _take(reader)
        return TransportStream(loop, transport, held, at_end=at_end)
    duplicate = fork.hold(lambda: _duplicate(sock))
    held, _ = _take(reader)
    return AdoptedStream(loop, duplicate, held, transport)


def _duplicate(sock: TransportSocket) -> socket.socket:
    """Return another socket of the same connection."""
    if sys.platform == "win32":  # a socket is no descriptor there
        return sock.dup()
    return socket.socket(fileno=os.dup(sock.fileno()))


def _take(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Return what ``reader`` has buffered, and whether the peer has ended; give it an end."""
    reading = reader.read(2**62)
    try:
        reading.send(None)
    except StopIteration as done:
        held = bytes(done.value)
    else:  # it would wait for more
        reading.close()
        held = b""
    at_end = reader.at_eof()
    reader.feed_eof()
    return held, at_end


class AdoptedStream(SocketStream):
    """The socket of an asyncio transport, which is released once its output is sent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        initial_data: bytes,
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(loop, sock, initial_data)
        self._transport: asyncio.Transport | None = transport
        # The loop closes it in a later iteration than the one that released it.
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
            if self.broken():  # the loop may not report that again
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            raise BlockingIOError(errno.EAGAIN, "the streams' own output is not sent yet")
        return super().write(buffers)

    def release(self) -> None:
        self._release_transport(at_once=True)
        super().release()

    def leave(self) -> None:
        self._transport = None  # only the parent process releases it
        with contextlib.suppress(OSError):  # the parent had released it before the fork
            self._original.replace()
        super().leave()

    def _check(self, count: int) -> None:
        """Report an end as a reset if the transport was the one that met the reset."""
        self._release_transport()
        if count == 0 and self._failed:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def _release_transport(self, *, at_once: bool = False) -> bool:
        """Make the transport close its own descriptor; our duplicate stays connected."""
        if self._transport is None:
            return True
        self._failed = self._transport.is_closing()  # the transport met a reset first
        if self._transport.get_write_buffer_size() and not (at_once or self._failed):
            return False
        self._transport.abort()
        self._transport = None
        return True
