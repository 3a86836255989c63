"""This library without asyncio, with messages that are sent together one way."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.adapters import ipc_sync
from benchmarks.async_end import Address
from ipc_channel import Transport


class Batching:
    """A channel that sends messages together, where it has several."""

    def __init__(self, connected: ipc_sync.Connected) -> None:
        self.write, self.read = connected.write, connected.read
        self.close = connected.close
        self.write_many = connected.channel.write_many


def listen(transport: Transport, directory: str) -> tuple[Address, Callable[[], Batching]]:
    address, accept = ipc_sync.listen(transport, directory)
    return address, lambda: Batching(accept())


def dial(transport: str, address: Address) -> Batching:
    return Batching(ipc_sync.dial(transport, address))
