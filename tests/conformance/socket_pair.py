"""A throwaway transport: one end of a socket pair, handed over to a process that knows a name.

It shows what a new transport takes: this module, and the registrations at its end.
``socket_pair.py suite ARGUMENTS...`` runs the conformance suite with it,
``socket_pair.py testee`` is the Python client that can use it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import sys
from dataclasses import dataclass
from typing import Any, Unpack

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.timing import backoff
from ipc_channel.channel import IPCChannel
from ipc_channel.options import Options, default_logger
from ipc_channel.protocol.rendezvous import refusal
from ipc_channel.transports.registry import TransportType, register
from ipc_channel.transports.socket_stream import SocketStream

_PREFIX = "pair:"
_numbers = itertools.count()


@dataclass(frozen=True)
class PairAddress:
    """The name at which one end of a pair is handed out."""

    name: str
    transport: str = "pair"

    @property
    def socket_name(self) -> str:
        return "\0" + self.name  # of Linux's own kind, which leaves no file


def recognises(text: str) -> bool:
    return text.startswith(_PREFIX)


def parse(in_path: str, out_path: str) -> PairAddress:
    if in_path != out_path:
        raise refusal("a pair has one name for both directions", in_path, out_path)
    return PairAddress(in_path)


def new_name() -> str:
    return f"{_PREFIX}{os.getpid()}-{next(_numbers)}"


def listen(name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    listener.bind(PairAddress(name).socket_name)
    return listener


def hand_out(visitor: socket.socket) -> socket.socket:
    """Make a pair, give one end away, and return the other."""
    ours, theirs = socket.socketpair()
    with visitor, theirs:
        socket.send_fds(visitor, [b"x"], [theirs.fileno()])
    return ours


class PairChannel(Endpoint, IPCChannel):
    """The server: it hands out a new pair for each session."""

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(logger, loop, **options)
        self._name_ = new_name()
        self._listener = listen(self._name_)
        self._listener.listen()

    @property
    def in_path(self) -> str:
        return self._name_

    @property
    def out_path(self) -> str:
        return self._name_

    def _describe(self) -> str:
        return self._name_

    async def _open(self, deadline: float) -> SocketStream | None:
        loop = asyncio.get_running_loop()
        for pause in itertools.chain(backoff(loop, deadline), [0]):
            try:
                visitor, _ = self._listener.accept()
            except BlockingIOError:
                await asyncio.sleep(pause)
            else:
                return SocketStream(loop, hand_out(visitor))
        return None

    def _holds_something(self) -> bool:
        return True

    def _dispose(self) -> None:
        self._listener.close()


class PairChannelClient(Endpoint):
    """The client: it fetches its end by name."""

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(logger, loop, **options)
        self._address = parse(in_path, out_path)

    def _describe(self) -> str:
        return self._address.name

    async def _open(self, deadline: float) -> SocketStream | None:
        loop = asyncio.get_running_loop()
        for pause in itertools.chain(backoff(loop, deadline), [0]):
            visit = socket.socket(socket.AF_UNIX)
            with visit:
                visit.setblocking(False)
                try:
                    visit.connect(self._address.socket_name)
                    while not (fds := await self._fetch(visit)):
                        await asyncio.sleep(0.001)
                except (ConnectionError, BlockingIOError):
                    await asyncio.sleep(pause)
                else:
                    return SocketStream(loop, socket.socket(fileno=fds[0]))
        return None

    async def _fetch(self, visit: socket.socket) -> list[int]:
        try:
            data, fds, _, _ = socket.recv_fds(visit, 1, 1)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError
        return fds


PAIR = TransportType(
    name="pair",
    form="pair:NAME",
    recognises=recognises,
    parse=parse,
    server=PairChannel,
    client=PairChannelClient,
    single_stream=True,
    can_reset=False,
    drains_before_close=False,
    peer_credentials=False,
)
register(PAIR)


def main(arguments: list[str]) -> Any:
    """Import what asks the registry, now that it has this transport too."""
    if arguments[0] == "testee":
        from ipc_channel.conformance import python_testee  # noqa: PLC0415  # asks the registry

        return python_testee.main()
    from ipc_channel import cli  # noqa: PLC0415  # asks the registry
    from ipc_channel.conformance import raw_server  # noqa: PLC0415  # asks the registry

    class RawPairs(raw_server.RawListener):
        def _bind(self) -> socket.socket:
            self.testee_in = self.testee_out = new_name()
            return listen(self.testee_in)

        async def _accept(self) -> Any:
            visitor, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            return self._wire(hand_out(visitor))

    raw_server.RAW_SERVERS["pair"] = RawPairs
    return cli.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
