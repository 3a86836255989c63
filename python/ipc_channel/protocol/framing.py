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
"""Limit of a message in bytes unless another is set."""
CLOSE_FRAME = bytes(HEADER_SIZE)
"""The frame that ends a direction."""

# A reader reserves at most this much ahead of what has arrived (FRM-9 allows 1 MiB).
RESERVE = 512 * 2**10

HEADER = struct.Struct("!I")
encode_header = HEADER.pack
"""``encode_header(length)`` gives the header of a payload of ``length`` bytes."""


def check_max_message_size(value: int) -> int:
    """Return ``value``, or raise ValueError or TypeError if it is no possible limit."""
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
    """Return the payload that ``data`` stands for.

    Anything but bytes is copied, since its owner may change it while it waits
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
    """Turns a byte stream, cut anywhere, into messages.

    It never raises for what a peer sends: ``messages`` holds what arrived
    whole, and once ``end`` is set, ``error`` says what was wrong, or is None
    for an orderly end. Bytes fed after the end are ignored.
    """

    __slots__ = ("_head", "end", "error", "max_message_size", "messages", "payload")

    def __init__(self, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE) -> None:
        self.max_message_size = check_max_message_size(max_message_size)
        self.messages: deque[bytes] = deque()
        self.end: EndReason | None = None
        self.error: IPCChannelError | None = None
        self._head = b""  # the begun header: at most three bytes
        self.payload: Payload | None = None
        """A payload that has begun: what follows may be put into its ``room``."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self.end is not None:
            return
        start = 0
        if self.payload is not None:
            start = self.payload.take(data)
            self.finish(self.payload)
            if self.end is not None:
                return
        elif self._head:
            data = self._head + data
        self._split(data, start)

    def filled(self, count: int) -> None:
        """Take the first ``count`` bytes that were put into the ``room`` of ``payload``."""
        if self.payload is None:
            raise ValueError("no payload has begun")
        self.payload.advance(count)
        self.finish(self.payload)

    def feed_eof(self) -> None:
        """Take the end of the stream."""
        if self.end is not None:
            return
        if self.payload is not None:
            error = TruncatedError("payload", self.payload.close(), self.payload.size)
        elif self._head:
            error = TruncatedError("header", self._head, HEADER_SIZE)
        else:
            self.stop(EndReason.EOF)
            return
        self.stop(EndReason.TRUNCATED, error)

    def stop(self, end: EndReason, error: IPCChannelError | None = None) -> None:
        """End here: nothing more is taken, and what has only begun is dropped."""
        self.error = error
        self.end = end
        self._head, self.payload = b"", None

    def forget(self) -> None:
        """Drop what has begun or was not delivered; nothing may be fed any more."""
        self.messages.clear()
        self._head, self.payload = b"", None

    def _split(self, data: bytes, start: int) -> None:
        """Cut ``data[start:]`` into frames; keep what is begun but not whole."""
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
        self._head = data[start:]

    def finish(self, payload: Payload) -> None:
        if payload.filled == payload.size:
            self.messages.append(payload.close())
            self.payload = None
        elif not payload.room:
            text = f"there is no memory for a frame of {payload.size} bytes"
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
    """A payload of which a part has arrived, in a buffer that grows as it arrives.

    It has ``room`` until it is whole, or there is no memory left.

    BytesIO is the one writable buffer that hands its content out as bytes
    without another copy, which matters from about 1 MiB on.
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
        """Copy what belongs to this payload from ``data``; return how much it was."""
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
            return  # and touch the buffer no more: it may be gone
        self._set_room(self._buffer.getbuffer()[self.filled :])

    def _set_room(self, room: memoryview) -> None:
        # Released, since a traceback may keep the view that was read into.
        before, self.room = self.room, room
        if before is not _NOTHING:
            before.release()


_NOTHING = memoryview(b"")


def _steps(size: int) -> Iterator[int]:
    """Yield where the reservation of a payload has to stop on its way, backwards.

    A BytesIO that has to grow by less than an eighth takes an eighth more than
    it needs, and leaves that untouched. Grown at these steps it ends at
    ``size``, neither beyond it nor copied shortly before. So a large message
    fits where the one before was, whose memory the process still has; more
    than its size would come from the kernel each time, page by page.
    """
    yield size
    step = (size - 5) * 8 // 9
    while step > 8 * RESERVE:  # up to there it always grows by more
        yield step
        step = (step - 7) * 8 // 9
