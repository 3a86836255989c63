"""The transport over loopback TCP (spec/rendezvous.md, "TCP")."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterable
from typing import Unpack

from ipc_channel import fork
from ipc_channel.aio.readiness import unwatch_output, watcher_of
from ipc_channel.aio.waiter import wake
from ipc_channel.errors import BadRendezvousError
from ipc_channel.options import Options, check_users, default_logger
from ipc_channel.protocol.rendezvous import check_strings
from ipc_channel.transports import tcp_address
from ipc_channel.transports.registry import TransportType
from ipc_channel.transports.socket_channel import SocketClient, SocketServer
from ipc_channel.transports.socket_stream import SocketStream, is_writable
from ipc_channel.transports.tcp_listener import TCPListener
from ipc_channel.windows.api import socket_error, strerror

_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)
# The connection was made, and the peer has reset it since, perhaps after its own end.
RESET_SINCE = (errno.ECONNRESET, errno.EPIPE)
NEVER = (errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EACCES, errno.EPERM)
# This system lacks a resource: for EADDRNOTAVAIL, a free port to connect from.
LACKING = (
    *(errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE),
    *(errno.ENOBUFS, errno.ENOMEM),
)


class TCPSocketChannel(SocketServer):
    """The server of a channel over TCP, listening on 127.0.0.1 until ``close``.

    Accepts one peer at a time and, on Linux and Windows, only peers of our own user or
    of ``allowed_users``. Options are those of :func:`ipc_channel.make_ipc_channel`.
    """

    _listener: TCPListener

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        allowed_users: Iterable[int | str] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(logger, loop, **options)
        self._listener = TCPListener(check_users(allowed_users), self.logger)

    @property
    def in_path(self) -> str:
        return str(self._listener.port)

    @property
    def out_path(self) -> str:
        return str(self._listener.port)

    def _describe(self) -> str:
        return f"port={self._listener.port}"


class TCPSocketChannelClient(SocketClient):
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

    async def _attempt(self, loop: asyncio.AbstractEventLoop) -> SocketStream | None:
        """Connect once; None if the next attempt may succeed."""
        address = (self._address.host, self._address.port)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            sock = fork.hold(lambda: socket.socket(family))
        except OSError as error:
            if error.errno in NEVER:  # a system without IPv6
                raise _never(address, error) from error
            raise
        sock.setblocking(False)
        try:
            code = sock.connect_ex(address)
            if code in _UNDER_WAY:
                await _attempted(loop, sock)
                # Not by calling connect again: if the connection was made and then
                # reset, a second call would discard the data that has arrived over it.
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code not in (0, *RESET_SINCE):
                raise socket_error(code)
            # The kernel may connect a client to itself if the port is free (RDV-44).
            if sock.getsockname()[:2] != address:
                return SocketStream(loop, sock, was_reset=code in RESET_SINCE)
        except OSError as error:
            fork.close(sock)
            no_ipv6 = error.errno == errno.EADDRNOTAVAIL and sock.family != socket.AF_INET
            if no_ipv6 or error.errno in NEVER:
                raise _never(address, error) from error
            if error.errno in LACKING:
                raise
            self._last_attempt = (
                f"{error.strerror or strerror(errno.ECONNREFUSED)}; check that the service"
                " is running, and that both paths are its in_path"
            )
            return None
        except BaseException:
            fork.close(sock)
            raise
        fork.close(sock)
        return None


async def _attempted(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait until a connection has been made, or has failed."""
    attempted: asyncio.Future[None] = loop.create_future()
    # On loopback it has mostly been made by now, without another loop iteration.
    if not is_writable(sock):
        watcher_of(loop).add_writer(sock.fileno(), wake, attempted)
        try:
            await attempted
        finally:
            unwatch_output(loop, sock.fileno())


def _never(address: tuple[str, int], error: OSError) -> BadRendezvousError:
    return BadRendezvousError(
        f"bad rendezvous {address}: {error.strerror}; check that this system lets the"
        " program connect to that address"
    )


TCP = TransportType(
    name="tcp",
    form="PORT nor HOST:PORT nor [HOST]:PORT",
    recognises=tcp_address.recognises,
    parse=tcp_address.parse,
    server=TCPSocketChannel,
    client=TCPSocketChannelClient,
    default_on=("win32",),
    single_stream=True,
    can_reset=True,
    drains_before_close=True,
    peer_credentials=True,
    server_options=frozenset({"allowed_users"}),
    own_rules=range(40, 60),
)
