"""pynng: a pair of Pair0 sockets over ipc, on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pynng

from benchmarks.async_end import Address

_SETTLE = 0.1  # seconds: closing a socket drops what it has not sent yet
_OPTIONS = {"recv_max_size": 0}  # no limit to the size of a message


class Connected:
    """A socket, its methods under the names that the workloads use."""

    def __init__(self, socket: pynng.Pair0) -> None:
        self._socket = socket
        self.write = socket.asend
        self.read = socket.arecv

    async def close(self) -> None:
        await asyncio.sleep(_SETTLE)
        self._socket.close()


async def listen(
    transport: str, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[Connected]]]:
    del transport
    url = f"ipc://{directory}/{number}"
    socket = pynng.Pair0(listen=url, **_OPTIONS)

    async def accept() -> Connected:
        return Connected(socket)

    return (url, url), accept


async def dial(transport: str, address: Address) -> Connected:
    del transport
    return Connected(pynng.Pair0(dial=address[0], block_on_dial=True, **_OPTIONS))
