"""The wire format, without any I/O (spec/framing.md).

A frame is a 4-byte unsigned big-endian length N and N bytes of payload.
N = 0 is the close frame: "I send nothing more".
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from ipc_channel.errors import (
    EmptyMessageError,
    EndReason,
    FrameTooLargeError,
    IPCChannelError,
    MessageTooLargeError,
    TruncatedError,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEADER_SIZE = 4
"""Bytes of a header."""
MAX_LENGTH = 2**32 - 1
"""The largest length a header can state."""
DEFAULT_MAX_MESSAGE_SIZE = 64 * 2**20
"""Default limit of a message, in bytes."""
CLOSE_FRAME = bytes(HEADER_SIZE)
"""The frame that ends a direction."""

# Bytes that a reader allocates beyond what has arrived, at most (FRM-9 allows 1 MiB).
RESERVE = 512 * 2**10

HEADER = struct.Struct("!I")
encode_header = HEADER.pack
"""``encode_header(length)`` gives the header of a payload of ``length`` bytes."""


def check_max_message_size(value: int) -> int:
    """Return ``value``, or raise ValueError or TypeError if it cannot be a limit."""
    if isinstance(value, bool) or not isinstance(value, int):
        kind = type(value).__name__
        raise TypeError(f"max_message_size is a number of bytes, an int, not {kind}")
    if not 1 <= value <= MAX_LENGTH:
        raise ValueError(
            f"max_message_size is {value}, not within 1 and {MAX_LENGTH} bytes;"
            f" leave it out for {DEFAULT_MAX_MESSAGE_SIZE}"
        )
    return value


def message_bytes(data: Buffer, max_message_size: int) -> bytes:
    """Return the payload of ``data`` as bytes.

    Anything but bytes is copied, since the caller may change it while it waits
    to be sent. The limit is checked before the copy.

    Raises TypeError, EmptyMessageError or MessageTooLargeError.
    """
    try:
        view = memoryview(data)
    except TypeError:
        hint = ": use .encode()" if isinstance(data, str) else ""
        kind = type(data).__name__
        raise TypeError(f"a message is bytes-like, not {kind}{hint}") from None
    with view:
        size = view.nbytes
        if size > max_message_size:
            raise MessageTooLargeError(
                f"message of {size} bytes exceeds the limit of {max_message_size};"
                " raise max_message_size at both ends, or send the data in parts"
            )
        if not size:
            raise EmptyMessageError(
                "an empty message would read as the end of the channel;"
                " send at least one byte, or call close to end it"
            )
        return data if type(data) is bytes else view.tobytes()


class Decoder:
    """Turns a byte stream, split anywhere, into messages.

    It never raises for what a peer sends: ``messages`` holds the messages that arrived
    whole. Once ``end`` is set, ``error`` says what was wrong, or is None for an
    orderly end. Bytes fed after the end are ignored.
    """

    __slots__ = ("end", "error", "head", "max_message_size", "messages", "payload")

    def __init__(self, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE) -> None:
        self.max_message_size = check_max_message_size(max_message_size)
        self.messages: deque[bytes] = deque()
        self.end: EndReason | None = None
        self.error: IPCChannelError | None = None
        self.head = b""
        """An incomplete header: at most three bytes."""
        self.payload: Payload | None = None
        """An incomplete payload: the next bytes may be read into its ``room``."""

    def feed(self, data: bytes) -> None:
        """Decode the next bytes of the stream."""
        if self.end is not None:
            return
        start = 0
        if self.payload is not None:
            start = self.payload.take(data)
            self.finish(self.payload)
            if self.end is not None:
                return
        elif self.head:
            data = self.head + data
        self._split(data, start)

    def only_message(self, data: bytes) -> bytes | None:
        """Return the message if ``data``, which begins a frame, is exactly that frame.

        Otherwise returns None, and ``data`` is to be fed. Saves the way through
        :attr:`messages`.
        """
        size = len(data) - HEADER_SIZE
        if 0 < size <= self.max_message_size and data.startswith(encode_header(size)):
            return data[HEADER_SIZE:]
        return None

    def filled(self, count: int) -> None:
        """Decode ``count`` bytes that were read into the ``room`` of ``payload``."""
        if self.payload is None:
            raise ValueError("no payload has begun")
        self.payload.advance(count)
        self.finish(self.payload)

    def feed_eof(self) -> None:
        """Decode the end of the stream."""
        if self.end is not None:
            return
        if self.payload is not None:
            error = TruncatedError("payload", self.payload.close(), self.payload.size)
        elif self.head:
            error = TruncatedError("header", self.head, HEADER_SIZE)
        else:
            self.stop(EndReason.EOF)
            return
        self.stop(EndReason.TRUNCATED, error)

    def stop(self, end: EndReason, error: IPCChannelError | None = None) -> None:
        """End the stream here: ignore all further bytes, and drop an incomplete frame."""
        self.error = error
        self.end = end
        self.head, self.payload = b"", None

    def forget(self) -> None:
        """Drop undelivered messages and an incomplete frame; do not feed afterwards."""
        self.messages.clear()
        self.head, self.payload = b"", None

    def _split(self, data: bytes, start: int) -> None:
        """Split ``data[start:]`` into frames, and keep an incomplete frame."""
        size = len(data)
        limit = self.max_message_size
        append = self.messages.append
        unpack = HEADER.unpack_from
        while (body := start + HEADER_SIZE) <= size:
            (length,) = unpack(data, start)
            if not 0 < length <= limit:
                self.refuse(length)
                return
            start = body + length
            if start > size:
                self.payload = Payload(length)
                self.payload.take(memoryview(data)[body:])
                self.finish(self.payload)
            else:
                append(data[body:start])
        self.head = data[start:]

    def finish(self, payload: Payload) -> None:
        if payload.filled == payload.size:
            self.messages.append(payload.close())
            self.payload = None
        elif not payload.room:
            text = (
                f"there is no memory for a frame of {payload.size} bytes;"
                " have the peer send smaller messages"
            )
            self.stop(EndReason.TOO_LARGE, FrameTooLargeError(text))

    def refuse(self, length: int) -> None:
        if length == 0:
            self.stop(EndReason.CLEAN)
            return
        text = (
            f"frame of {length} bytes exceeds the limit of {self.max_message_size};"
            " raise max_message_size at both ends if the peer may send so much"
        )
        self.stop(EndReason.TOO_LARGE, FrameTooLargeError(text))


class Payload:
    """An incomplete payload, in a buffer that grows as its bytes arrive.

    It has ``room`` until it is whole, or memory runs out.

    BytesIO is the only writable buffer that returns its content as bytes without
    another copy, which matters from about 1 MiB on.
    """

    __slots__ = ("_buffer", "_steps", "filled", "room", "size")
    room: memoryview

    def __init__(self, size: int) -> None:
        self.size = size
        self.filled = 0
        self._buffer = BytesIO()
        self._steps = list(_steps(size))
        self.room = _NOTHING
        self.reserve()

    def take(self, data: bytes | memoryview) -> int:
        """Copy the bytes of this payload from ``data``; return their number."""
        used = 0
        while used < len(data) and self.room:
            count = min(len(data) - used, len(self.room))
            self.room[:count] = memoryview(data)[used : used + count]
            self.advance(count)
            used += count
        return used

    def advance(self, count: int) -> None:
        self.filled += count
        self._set_room(self.room[count:])
        if not self.room and self.filled < self.size:
            self.reserve()

    def close(self) -> bytes:
        """Return what has arrived."""
        self._set_room(_NOTHING)
        self._buffer.truncate(self.filled)
        return self._buffer.getvalue()

    def reserve(self) -> None:
        self._set_room(_NOTHING)  # a buffer with a view on it cannot grow
        reserved = min(self._steps[-1], self.filled + RESERVE)
        if reserved == self._steps[-1]:
            self._steps.pop()
        self._buffer.seek(reserved - 1)
        try:
            self._buffer.write(b"\0")
        except MemoryError:
            return  # do not use the buffer again: its memory may have been freed
        self._set_room(self._buffer.getbuffer()[self.filled :])

    def _set_room(self, room: memoryview) -> None:
        # Released explicitly, since a traceback may keep a reference to the view.
        before, self.room = self.room, room
        if before is not _NOTHING:
            before.release()


_NOTHING = memoryview(b"")


def _steps(size: int) -> Iterator[int]:
    """Yield the sizes at which the allocation of a payload must stop, largest first.

    A BytesIO that grows by less than an eighth allocates an eighth more than it needs.
    Grown in these steps, it ends at exactly ``size``, and is not copied shortly before.
    So a large message fits into the memory that the previous one has freed. A larger
    allocation would come from the kernel each time, page by page.
    """
    yield size
    step = (size - 5) * 8 // 9
    while step > 8 * RESERVE:  # below this it always grows by more than an eighth
        yield step
        step = (step - 7) * 8 // 9
