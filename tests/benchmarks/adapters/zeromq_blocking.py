"""pyzmq without an event loop: a pair of PAIR sockets over ipc, with blocking calls."""

from __future__ import annotations

import atexit
from collections.abc import Callable

import zmq

from benchmarks.async_end import Address

_CONTEXT = zmq.Context()
_CONTEXT.linger = 1000  # milliseconds
atexit.register(_CONTEXT.destroy)  # which waits so long for what was sent to go out


class Connected:
    """A socket that copies as that in ``zeromq`` does."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._copies = True
        self.close = socket.close

    def write(self, data: bytes) -> None:
        self._socket.send(data, copy=len(data) < zmq.COPY_THRESHOLD)

    def read(self) -> bytes:
        got = self._socket.recv(copy=self._copies)
        message: bytes = got if self._copies else got.buffer  # as good as bytes, here
        self._copies = len(message) < zmq.COPY_THRESHOLD
        return message


def listen(transport: str, directory: str) -> tuple[Address, Callable[[], Connected]]:
    del transport
    url = f"ipc://{directory}/socket"
    socket = _CONTEXT.socket(zmq.PAIR)
    socket.bind(url)
    return (url, url), lambda: Connected(socket)


def dial(transport: str, address: Address) -> Connected:
    del transport
    socket = _CONTEXT.socket(zmq.PAIR)
    socket.connect(address[0])
    return Connected(socket)
