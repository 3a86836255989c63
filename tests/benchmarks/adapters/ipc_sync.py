"""This library, as an application without asyncio uses it."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.async_end import Address
from ipc_channel import Transport
from ipc_channel.sync import IPCChannelClient, make_ipc_channel, make_ipc_channel_client


class Connected:
    """A channel that sends each message on its own."""

    def __init__(self, channel: IPCChannelClient) -> None:
        if not channel.connect(timeout=20):
            raise TimeoutError("no peer connected")
        self.channel = channel
        self.write = channel.write
        self.read = channel.read
        self.close = channel.close


def listen(transport: Transport, directory: str) -> tuple[Address, Callable[[], Connected]]:
    del directory
    channel = make_ipc_channel(transport=transport)
    return (channel.out_path, channel.in_path), lambda: Connected(channel)


def dial(transport: str, address: Address) -> Connected:
    del transport
    return Connected(make_ipc_channel_client(*address))
