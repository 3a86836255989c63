"""The events of a case, in order, to find out why it failed."""

from __future__ import annotations

import time
from collections import deque

_LINES = 400
_SHOWN = 24  # bytes of a payload
_LONGEST = 300  # characters of a text


def shorten(data: bytes) -> str:
    """Return ``data`` in hex, without the middle if it is long."""
    if len(data) <= _SHOWN:
        return data.hex(" ")
    return f"{data[: _SHOWN // 2].hex(' ')} … {data[-4:].hex(' ')}"


def shorten_text(text: str) -> str:
    """Return ``text``; of a long one, its beginning and its length."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


class Trace:
    """Lines with the seconds since the case began; keeps the first and the latest lines."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._first: list[str] = []
        self._latest: deque[str] = deque(maxlen=_LINES // 2)
        self._count = 0

    def add(self, text: str) -> None:
        """Add a line about an event."""
        line = f"{time.monotonic() - self._start:8.3f}  {text}"
        self._count += 1
        if len(self._first) < _LINES // 2:
            self._first.append(line)
        else:
            self._latest.append(line)

    def lines(self) -> list[str]:
        """Return the lines."""
        left_out = self._count - len(self._first) - len(self._latest)
        gap = [f"          … {left_out} lines left out …"] if left_out else []
        return [*self._first, *gap, *self._latest]


class FrameLog:
    """Traces one direction of the wire, frame by frame."""

    def __init__(self, trace: Trace, end: str) -> None:
        self._trace = trace
        self._name = end
        self._header = b""
        self._size = 0
        self._left = 0
        self._head = b""  # of the payload
        self.count = 0
        """Number of bytes that were transferred."""

    def add(self, data: bytes) -> None:
        """Trace the next bytes of this direction."""
        self.count += len(data)
        while data:
            if self._left == 0:
                taken = 4 - len(self._header)
                self._header += data[:taken]
                data = data[taken:]
                if len(self._header) < 4:
                    return
                self._size = self._left = int.from_bytes(self._header, "big")
                self._head = b""
                self._header_done()
            part, data = data[: self._left], data[self._left :]
            self._head = (self._head + part[: _SHOWN + 1])[: _SHOWN + 1]
            self._left -= len(part)
            if self._left == 0 and self._size:
                self._note(f"frame of {self._size} bytes: {shorten(self._head)}")

    def end(self, how: str) -> None:
        """Trace the end of this direction, and an incomplete frame."""
        if self._left:
            came = self._size - self._left
            self._note(
                f"{came} of the {self._size} bytes of a frame: {shorten(self._head)}"
            )
        elif self._header:
            self._note(
                f"{len(self._header)} of the 4 bytes of a header: {self._header.hex(' ')}"
            )
        self._header, self._left = b"", 0
        self._note(how)

    def _header_done(self) -> None:
        self._header = b""
        if self._size == 0:
            self._note("close frame")

    def _note(self, text: str) -> None:
        self._trace.add(f"{self._name}  {text}")


def first_difference(expected: bytes, got: bytes | None) -> str:
    """Describe where two payloads differ that begin alike."""
    for start, (one, other) in enumerate(zip(expected, got or b"", strict=False)):
        if one != other:
            there = (got or b"")[start : start + 8].hex(" ")
            return f"; from byte {start} on {there}, not {expected[start : start + 8].hex(' ')}"
    return ""


def describe_frame(payload: bytes | None) -> str:
    """Describe a received frame; None is the end of the stream."""
    if payload is None:
        return "the end of the stream"
    if not payload:
        return "a close frame"
    return f"{len(payload)} bytes, {payload[:16].hex(' ')}{' …' if payload[16:] else ''}"
