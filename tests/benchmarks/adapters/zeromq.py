"""pyzmq: a pair of PAIR sockets over ipc, on asyncio."""

from __future__ import annotations

import atexit
from collections.abc import Awaitable, Callable

import zmq
import zmq.asyncio

from benchmarks.async_end import Address

_CONTEXT = zmq.asyncio.Context()
_CONTEXT.linger = 1000  # milliseconds
atexit.register(_CONTEXT.destroy)  # which waits so long for what was sent to go out
_CONTEXT.max_sockets = 4096


class Connected:
    """A socket that copies below 64 KiB, and from there on neither sends nor receives a copy.

    How large the next message is, the one before it tells: those of a workload are alike.
    """

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self._socket = socket
        self._copies = True

    def write(self, data: bytes) -> Awaitable[object]:
        sent: Awaitable[object] = self._socket.send(
            data, copy=len(data) < zmq.COPY_THRESHOLD
        )
        return sent

    async def read(self) -> bytes:
        got = await self._socket.recv(copy=self._copies)
        message: bytes = got if self._copies else got.buffer  # as good as bytes, here
        self._copies = len(message) < zmq.COPY_THRESHOLD
        return message

    async def close(self) -> None:
        self._socket.close()


async def listen(
    transport: str, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[Connected]]]:
    del transport
    url = f"ipc://{directory}/{number}"
    socket = _CONTEXT.socket(zmq.PAIR)
    socket.bind(url)

    async def accept() -> Connected:
        return Connected(socket)

    return (url, url), accept


async def dial(transport: str, address: Address) -> Connected:
    del transport
    socket = _CONTEXT.socket(zmq.PAIR)
    socket.connect(address[0])
    return Connected(socket)
