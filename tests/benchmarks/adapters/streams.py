"""asyncio streams with the same frames, over a Unix socket or TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.async_end import Address

_JOIN = 4096  # a larger payload is not copied to stand beside its length
LIMIT = 2**20  # bytes; a reader pauses at twice as many


class Framed:
    """Messages over a pair of streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        header = len(data).to_bytes(4, "big")
        if len(data) <= _JOIN:
            self._writer.write(header + data)
        else:
            self._writer.write(header)  # writelines would join the two, up to Python 3.11
            self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> bytes | None:
        try:
            header = await self._reader.readexactly(4)
        except asyncio.IncompleteReadError:
            return None
        return await self._reader.readexactly(int.from_bytes(header, "big"))

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def listen(
    transport: str, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[Framed]]]:
    arrival: asyncio.Future[Framed] = asyncio.get_running_loop().create_future()

    def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrival.set_result(Framed(reader, writer))

    if transport == "unix":
        path = f"{directory}/{number}"
        server = await asyncio.start_unix_server(arrived, path, limit=LIMIT)
        address = path
    else:
        server = await asyncio.start_server(arrived, "127.0.0.1", 0, limit=LIMIT)
        address = str(server.sockets[0].getsockname()[1])

    async def accept() -> Framed:
        framed = await arrival
        server.close()
        return framed

    return (address, address), accept


async def dial(transport: str, address: Address) -> Framed:
    if transport == "unix":
        streams = await asyncio.open_unix_connection(address[0], limit=LIMIT)
    else:
        port = int(address[0])
        streams = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
    return Framed(*streams)
