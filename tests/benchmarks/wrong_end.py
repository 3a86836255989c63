"""A peer that does its work wrong in one way, to test that the driver notices.

``python -m benchmarks.wrong_end WAY`` and then the arguments of ``benchmarks.end``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from benchmarks import async_end, blocking_end, end
from benchmarks.async_end import HELLO

SIZE = 64  # bytes of the messages that are spoilt
_THIRD = 3

Spoil = Callable[[bytes], list[bytes]]


def _third(instead: Spoil) -> Spoil:
    """Return what spoils the third message of SIZE, and leaves all others alone."""
    seen = 0

    def spoil(data: bytes) -> list[bytes]:
        nonlocal seen
        seen += len(data) == SIZE
        return instead(data) if len(data) == SIZE and seen == _THIRD else [data]

    return spoil


def _last_byte(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def _less(data: bytes) -> list[bytes]:
    """Acknowledge a byte less, of whatever was received."""
    cpu, _, received = data.partition(b" ")
    return [b"%s %d" % (cpu, int(received) - 1)] if int(received or 0) else [data]


WAYS: dict[str, Spoil] = {
    "hello": lambda data: [b"other"] if data == HELLO else [data],
    "all bytes": lambda data: [_last_byte(data)] if len(data) == SIZE else [data],
    "first byte": _third(lambda data: [bytes((data[0] ^ 1,)) + data[1:]]),
    "short": _third(lambda data: [data[:-1]]),
    "long": _third(lambda data: [data + b"x"]),
    "empty": _third(lambda data: [b""]),
    "lost": _third(lambda data: []),
    "double": _third(lambda data: [data, data]),
    "total": lambda data: [data] if len(data) == SIZE else _less(data),
}


class Blocking:
    """A channel that blocks, and what spoils its messages."""

    def __init__(self, channel: Any, spoil: Spoil) -> None:
        self._channel, self._spoil = channel, spoil
        self.read, self.close = channel.read, channel.close

    def write(self, data: bytes) -> None:
        for one in self._spoil(bytes(data)):
            self._channel.write(one)


class Awaitable(Blocking):
    """The same for an event loop."""

    async def write(self, data: bytes) -> None:  # type: ignore[override]  # awaited
        for one in self._spoil(bytes(data)):
            await self._channel.write(one)


class Adapter:
    """An adapter with faulty channels."""

    def __init__(self, adapter: Any, spoil: Spoil) -> None:
        self._adapter, self._spoil = adapter, spoil

    def dial(self, *address: Any) -> Blocking:
        return Blocking(self._adapter.dial(*address), self._spoil)


class AsyncAdapter(Adapter):
    async def dial(self, *address: Any) -> Awaitable:  # type: ignore[override]  # awaited
        return Awaitable(await self._adapter.dial(*address), self._spoil)


def main() -> None:
    spoil = WAYS[sys.argv.pop(1)]
    peers: Any = async_end.peer, blocking_end.peer
    async_end.peer = lambda one, *rest: peers[0](AsyncAdapter(one, spoil), *rest)
    blocking_end.peer = lambda one, *rest: peers[1](Adapter(one, spoil), *rest)
    end.main()


if __name__ == "__main__":
    main()
