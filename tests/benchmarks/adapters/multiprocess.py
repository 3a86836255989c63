"""``multiprocessing.connection`` over a Unix socket."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener

from benchmarks.async_end import Address


class Connected:
    """A connection; it has its methods under the names that the workloads use."""

    def __init__(self, connection: Connection) -> None:
        self.write = connection.send_bytes
        self.read = connection.recv_bytes
        self.close = connection.close


def listen(transport: str, directory: str) -> tuple[Address, Callable[[], Connected]]:
    del transport
    path = f"{directory}/socket"
    listener = Listener(path, "AF_UNIX")

    def accept() -> Connected:
        with listener:
            return Connected(listener.accept())

    return (path, path), accept


def dial(transport: str, address: Address) -> Connected:
    del transport
    return Connected(Client(address[0], "AF_UNIX"))
