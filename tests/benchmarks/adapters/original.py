"""The original of this API, ``aea.helpers.pipe`` of the package open-aea."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aea.helpers import pipe

from benchmarks.async_end import Address

SERVERS = {"named_pipe": "PosixNamedPipeChannel", "tcp": "TCPSocketChannel"}


class Connected:
    """A connected channel of the original.

    Over named pipes its ``write`` raises when the pipe is full; a program has
    to try again. That loses nothing for a frame of up to 4096 bytes, which the
    kernel takes whole or not at all.
    """

    def __init__(self, channel: Any, transport: str) -> None:
        self._channel = channel
        self.read = channel.read
        self.write = self._insist if transport == "named_pipe" else channel.write

    async def _insist(self, data: bytes) -> None:
        while True:
            try:
                await self._channel.write(data)
            except BlockingIOError:
                await asyncio.sleep(0)
            else:
                return

    async def close(self) -> None:
        await self._channel.close()


async def listen(
    transport: str, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[Connected]]]:
    del directory, number
    channel = getattr(pipe, SERVERS[transport])()

    async def accept() -> Connected:
        return await _connected(channel, transport)

    return (channel.out_path, channel.in_path), accept


async def dial(transport: str, address: Address) -> Connected:
    return await _connected(
        getattr(pipe, SERVERS[transport] + "Client")(*address), transport
    )


async def _connected(channel: Any, transport: str) -> Connected:
    if not await channel.connect():
        raise TimeoutError(f"no peer connected: {getattr(channel, 'last_exception', None)}")
    return Connected(channel, transport)
