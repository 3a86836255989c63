"""This library, as an application uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.async_end import Address
from ipc_channel import (
    IPCChannelClient,
    Transport,
    make_ipc_channel,
    make_ipc_channel_client,
)


async def listen(
    transport: Transport, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[IPCChannelClient]]]:
    del directory, number
    channel = make_ipc_channel(transport=transport)

    async def accept() -> IPCChannelClient:
        return await _connected(channel)

    return (channel.out_path, channel.in_path), accept


async def dial(transport: str, address: Address) -> IPCChannelClient:
    del transport
    return await _connected(make_ipc_channel_client(*address))


async def _connected(channel: IPCChannelClient) -> IPCChannelClient:
    if not await channel.connect(timeout=20):
        raise TimeoutError("no peer connected")
    return channel
