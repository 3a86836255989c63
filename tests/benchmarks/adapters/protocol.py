"""asyncio.Protocol with the same frames over a Unix socket: what one writes by hand.

Without streams: what arrives is taken apart as it comes, and a reader is woken
for whole messages only.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.async_end import Address

_HEADER = struct.Struct(">I")
_JOIN = 4096  # a larger payload is not copied to stand beside its length
_READ_AHEAD = 2**18  # bytes of undelivered messages, above which nothing is read


class Framed(asyncio.Protocol):
    """Messages over one connection; ``on_connection`` hears of it on the side that listens."""

    def __init__(self, on_connection: Callable[[Framed], None] = lambda _: None) -> None:
        self._on_connection = on_connection
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()  # begins with a frame that is not whole yet
        self._messages: deque[bytearray] = deque()
        self._undelivered = 0  # bytes of messages
        self._paused = self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: Any) -> None:  # uvloop's is no asyncio.Transport
        self._transport = transport
        self._on_connection(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start, size = 0, len(buffer)
        while size - start >= _HEADER.size:
            body = start + _HEADER.size
            end = body + _HEADER.unpack_from(buffer, start)[0]
            if end > size:
                break
            self._messages.append(buffer[body:end])
            self._undelivered += end - body
            start = end
        if start:
            del buffer[:start]
            self._wake()
        if self._undelivered > _READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._room.set()
        self._wake()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _wake(self) -> None:
        if self._reader is not None:
            self._reader.set_result(None)
            self._reader = None

    async def write(self, data: bytes) -> None:
        header = _HEADER.pack(len(data))
        if len(data) <= _JOIN:
            self._transport.write(header + data)
        else:
            self._transport.write(
                header
            )  # writelines would join the two, up to Python 3.11
            self._transport.write(data)
        if not self._room.is_set():
            await self._room.wait()

    async def read(self) -> bytes | bytearray | None:
        while not self._messages:
            if self._ended:
                return None
            self._reader = self._loop.create_future()
            await self._reader
        message = self._messages.popleft()
        self._undelivered -= len(message)
        if self._paused and not self._messages:
            self._paused = False
            self._transport.resume_reading()
        return message

    async def close(self) -> None:
        self._transport.close()  # what was written still goes out
        while not self._ended:
            self._reader = self._loop.create_future()
            await self._reader


async def listen(
    transport: str, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[Framed]]]:
    del transport
    loop = asyncio.get_running_loop()
    arrival: asyncio.Future[Framed] = loop.create_future()
    path = f"{directory}/{number}"
    server = await loop.create_unix_server(lambda: Framed(arrival.set_result), path)

    async def accept() -> Framed:
        framed = await arrival
        server.close()
        return framed

    return (path, path), accept


async def dial(transport: str, address: Address) -> Framed:
    del transport
    loop = asyncio.get_running_loop()
    _, framed = await loop.create_unix_connection(Framed, address[0])
    return framed
