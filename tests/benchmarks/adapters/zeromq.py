"""pyzmq: a pair of PAIR sockets over ipc, on asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import zmq
import zmq.asyncio

from benchmarks.async_end import Address

_CONTEXT = zmq.asyncio.Context()
_CONTEXT.max_sockets = 4096


class Connected:
    """A socket. Sending without a copy is what pyzmq does from 64 KiB on, if allowed."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self._socket = socket
        self.read = socket.recv

    def write(self, data: bytes) -> Awaitable[object]:
        sent: Awaitable[object] = self._socket.send(
            data, copy=len(data) < zmq.COPY_THRESHOLD
        )
        return sent

    async def close(self) -> None:
        self._socket.close()  # what was sent still goes out


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
