"""The transport over loopback TCP (spec/rendezvous.md, "TCP")."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import socket
from collections.abc import Iterable
from typing import Unpack

from ipc_channel import fork
from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.timing import backoff
from ipc_channel.aio.waiter import wake
from ipc_channel.channel import IPCChannel
from ipc_channel.errors import BadRendezvousError
from ipc_channel.options import Options, check_users, default_logger
from ipc_channel.protocol.rendezvous import check_strings
from ipc_channel.transports import tcp_address
from ipc_channel.transports.registry import TransportType
from ipc_channel.transports.tcp_listener import Listener
from ipc_channel.transports.tcp_stream import SocketStream, is_writable

_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)
# Errors of a connection that was made and has been reset, also after the peer's end.
RESET_SINCE = (errno.ECONNRESET, errno.EPIPE)
_NEVER = (errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EACCES, errno.EPERM)
# Of the own side; the first of them means that no port is left to connect from.
LACKING = (errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)


class TCPSocketChannel(Endpoint, IPCChannel):
    """The server of a channel over TCP, listening on 127.0.0.1 until ``close``.

    Takes one peer at a time and, on Linux, only one of our own user or of
    ``allowed_users``. Options are those of :func:`ipc_channel.make_ipc_channel`.
    """

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        allowed_users: Iterable[int] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(logger, loop, **options)
        self._listener = Listener(check_users(allowed_users), self.logger)

    @property
    def in_path(self) -> str:
        return str(self._listener.port)

    @property
    def out_path(self) -> str:
        return str(self._listener.port)

    def _describe(self) -> str:
        return f"port={self._listener.port}"

    async def _open(self, deadline: float) -> SocketStream:
        del deadline  # who comes too late waits in the listener's queue
        loop = asyncio.get_running_loop()
        try:
            sock = await self._listener.accept(loop)
        finally:
            self._last_attempt = self._listener.refusals.summary() or (
                "no client came; check that it runs, and that both of its paths are"
                f" {self.in_path!r}"
            )
        stream = SocketStream(loop, sock)
        stream.on_end = functools.partial(self._listener.admit, loop)
        self._listener.reject_others(stream)
        return stream

    def _holds_something(self) -> bool:
        return hasattr(self, "_listener")  # not if construction failed

    def _forget_peer(self) -> None:
        self._listener.forget()

    def _dispose(self) -> None:
        self._listener.close()


class TCPSocketChannelClient(Endpoint):
    """The client of a channel over TCP; both paths are the same string.

    Options are those of :func:`ipc_channel.make_ipc_channel_client`.
    """

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(logger, loop, **options)
        check_strings(in_path, out_path)
        self._address = tcp_address.parse(in_path, out_path)

    def _describe(self) -> str:
        return f"host={self._address.host!r} port={self._address.port}"

    async def _open(self, deadline: float) -> SocketStream | None:
        loop = asyncio.get_running_loop()
        stream = await self._attempt(loop)
        for pause in backoff(loop, deadline):
            if stream is not None:
                break
            await asyncio.sleep(pause)
            stream = await self._attempt(loop)
        return stream

    async def _attempt(self, loop: asyncio.AbstractEventLoop) -> SocketStream | None:
        """Connect once; None if nobody listens."""
        address = (self._address.host, self._address.port)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            sock = fork.hold(lambda: socket.socket(family))
        except OSError as error:
            if error.errno in _NEVER:  # a system without IPv6
                raise _never(address, error) from error
            raise
        sock.setblocking(False)
        try:
            code = sock.connect_ex(address)
            if code in _UNDER_WAY:
                await _attempted(loop, sock)
                # Not by calling connect again: if the connection was made and has been
                # reset since, that would throw away what has arrived over it.
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code not in (0, *RESET_SINCE):
                raise OSError(code, os.strerror(code))
            # A connection to a free port can meet itself.
            if sock.getsockname()[:2] != address:
                return SocketStream(loop, sock, was_reset=code in RESET_SINCE)
        except OSError as error:
            fork.close(sock)
            no_ipv6 = error.errno == errno.EADDRNOTAVAIL and sock.family != socket.AF_INET
            if no_ipv6 or error.errno in _NEVER:
                raise _never(address, error) from error
            if error.errno in LACKING:
                raise
            self._last_attempt = (
                f"{os.strerror(error.errno or errno.ECONNREFUSED)}; check that the service"
                " runs, and that both paths are its in_path"
            )
            return None
        except BaseException:
            fork.close(sock)
            raise
        fork.close(sock)
        return None


async def _attempted(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait until a connection was made, or has failed."""
    attempted: asyncio.Future[None] = loop.create_future()
    # On loopback it is mostly done by now, without a turn of the loop.
    if not is_writable(sock):
        loop.add_writer(sock.fileno(), wake, attempted)
        try:
            await attempted
        finally:
            if not loop.is_closed():
                loop.remove_writer(sock.fileno())


def _never(address: tuple[str, int], error: OSError) -> BadRendezvousError:
    return BadRendezvousError(f"bad rendezvous {address}: {error.strerror}")


TCP = TransportType(
    name="tcp",
    form="PORT nor HOST:PORT nor [HOST]:PORT",
    recognises=tcp_address.recognises,
    parse=tcp_address.parse,
    server=TCPSocketChannel,
    client=TCPSocketChannelClient,
    default_on=("darwin", "win32"),
    single_stream=True,
    can_reset=True,
    drains_before_close=True,
    peer_credentials=True,
    own_rules=range(40, 60),
)
