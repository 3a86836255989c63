"""A connection that stays with its asyncio transport, for a loop that watches no sockets.

Windows' proactor loop reads into a transport ahead of time. To take the socket away would
lose what that read has got, so the transport goes on reading and writing, and hands over
bytes to this stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Sequence

from ipc_channel.aio.stream import Stream, nothing

_MOST_HELD = 256 * 2**10  # bytes received and not read, above which the transport pauses
_MOST_HANDED = 256 * 2**10  # bytes that the transport gets at once: it copies them


class TransportStream(Stream, asyncio.Protocol):
    """The protocol of ``transport``; readiness is told by callbacks of the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        initial_data: bytes,
        *,
        at_end: bool,
    ) -> None:
        Stream.__init__(self, loop)
        self.initial_data = initial_data
        self._transport = transport
        self._held = bytearray()  # received, and not read yet
        self._at_end = at_end  # the peer sends nothing more
        self._error: OSError | None = None
        self._on_writable: Callable[[], None] = nothing
        self._former = transport.get_protocol()  # the streams wait for its end
        transport.set_write_buffer_limits(high=0)
        transport.set_protocol(self)
        if not at_end:
            transport.resume_reading()

    def in_fd(self) -> int:
        return -1  # nothing watches it

    def out_fd(self) -> int:
        return -1

    def read(self, size: int) -> bytes:
        if not self._held:
            self._check()
            return self._nothing_held()
        data = bytes(self._held[:size])
        self._took(len(data))
        return data

    def read_into(self, room: memoryview) -> int:
        data = self.read(len(room))
        room[: len(data)] = data
        return len(data)

    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        self._check()
        if self._transport.get_write_buffer_size():
            raise BlockingIOError(errno.EAGAIN, "the transport has not sent all")
        room = _MOST_HANDED
        for buffer in buffers:
            part = memoryview(buffer)[:room]
            self._transport.write(part)
            room -= len(part)
            if not room:
                break
        return _MOST_HANDED - room

    def finish_writing(self) -> bool:
        with contextlib.suppress(OSError):  # the connection is gone: reads report it
            self._transport.write_eof()
        return True

    def unsent(self) -> int | None:
        return self._transport.get_write_buffer_size() or None

    def ended(self) -> bool:
        return self._at_end or self._error is not None

    def release(self) -> None:
        self._transport.abort()

    def start_reading(self, callback: Callable[[], None]) -> None:
        self._on_readable = callback
        self._watches_input = True
        self._tell_reader_later()

    def stop_reading(self) -> None:
        self._watches_input = False

    def start_writing(self, callback: Callable[[], None]) -> None:
        self._on_writable = callback
        self._watches_output = True
        self._tell_writer_later()

    def stop_writing(self) -> None:
        self._watches_output = False

    def data_received(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _MOST_HELD:
            self._transport.pause_reading()
        self._tell_reader()

    def eof_received(self) -> bool:
        self._at_end = True
        self._tell_reader()
        return True  # our own direction stays open

    def connection_lost(self, error: Exception | None) -> None:
        self._former.connection_lost(error)
        if self._error is None and not self.closed:
            self._error = _as_reset(error)
            self._tell_reader()
            self._tell_writer()

    def resume_writing(self) -> None:
        self._tell_writer()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _nothing_held(self) -> bytes:
        if self._at_end:
            return b""
        raise BlockingIOError(errno.EAGAIN, "nothing has arrived")

    def _took(self, count: int) -> None:
        del self._held[:count]
        if len(self._held) <= _MOST_HELD and not (self._at_end or self._error):
            self._transport.resume_reading()

    def _tell_reader_later(self) -> None:
        self.loop.call_soon(self._tell_reader)

    def _tell_reader(self) -> None:
        """Call the reader for as long as it leaves something, as a selector would."""
        if self._watches_input and (self._held or self.ended()):
            try:
                self._on_readable()
            finally:
                self._tell_reader_later()

    def _tell_writer_later(self) -> None:
        self.loop.call_soon(self._tell_writer)

    def _tell_writer(self) -> None:
        blocked = self._transport.get_write_buffer_size() and self._error is None
        if self._watches_output and not blocked:
            self._on_writable()


def _as_reset(error: Exception | None) -> OSError:
    """Return the error of a connection that the transport has given up."""
    if isinstance(error, OSError):
        return error
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
