"""The transport over loopback TCP (spec/rendezvous.md, "TCP")."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Unpack, cast

from ipc_channel import fork
from ipc_channel.aio.endpoint import Endpoint, check_running, warn_unclosed
from ipc_channel.aio.session import Session
from ipc_channel.aio.stream import backoff
from ipc_channel.aio.waiter import wake
from ipc_channel.channel import IPCChannel
from ipc_channel.errors import (
    BadRendezvousError,
    EndReason,
    IPCChannelError,
    NotConnectedError,
)
from ipc_channel.options import Options, check_logger, check_options, default_logger
from ipc_channel.protocol import rendezvous
from ipc_channel.transports.tcp_listener import Listener
from ipc_channel.transports.tcp_stream import SocketStream, is_writable

if TYPE_CHECKING:
    from typing_extensions import Buffer


_NO_USER = 2**32 - 1  # which system calls take for "leave it as it is"
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)
# Errors of a connection that was made and has been reset, also after the peer's end.
_RESET_SINCE = (errno.ECONNRESET, errno.EPIPE)
_NEVER = (errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EACCES, errno.EPERM)
# Of the own side; the first of them means that no port is left to connect from.
_LACKING = (errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)


class TCPSocketProtocol:
    """A session over an established asyncio stream pair.

    The pair must not be used for reading and writing any more: the session
    takes over the connection, with what ``reader`` holds. Options are those
    of :func:`ipc_channel.make_ipc_channel_client`.

    Raises WrongLoopError for a ``loop`` other than the running one, ValueError
    for a pair over TLS, which this would bypass, NotConnectedError for one that
    is closed.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        for name, value, kind in (
            ("reader", reader, asyncio.StreamReader),
            ("writer", writer, asyncio.StreamWriter),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"{name} is a {kind.__name__}, not {type(value).__name__}")
        self.logger = check_logger(logger)
        self._writer = writer
        checked = check_options(options)
        stream = _take_over(reader, writer, check_running(loop))
        name = f"{type(self).__name__} {writer.get_extra_info('peername')}"
        self._session = Session(stream, logger=logger, name=name, **checked)

    @property
    def writer(self) -> asyncio.StreamWriter:
        """The writer this was built from; only for asking about the connection."""
        return self._writer

    @property
    def end_reason(self) -> EndReason | None:
        """What ended the session; None while it lives."""
        return self._session.end_reason

    @property
    def last_exception(self) -> IPCChannelError | None:
        """The error that ended the session, if one did."""
        return self._session.error

    async def write(self, data: Buffer) -> None:
        """See :meth:`ipc_channel.IPCChannelClient.write`."""
        waiting = self._session.sender.write(data)
        if waiting is not None:
            await waiting

    async def read(self) -> bytes | None:
        """See :meth:`ipc_channel.IPCChannelClient.read`."""
        receiver = self._session.receiver
        return receiver.take() or await receiver.read()

    async def close(self) -> None:
        """See :meth:`ipc_channel.IPCChannelClient.close`."""
        await self._session.close()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None and not session.released:
            session.abandon()
            warn_unclosed(self)


def _take_over(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    loop: asyncio.AbstractEventLoop,
) -> SocketStream:
    """Take the socket, and what was read from it, away from a pair of asyncio streams.

    Their transport gives up the rest of the input when a write fails, so it
    cannot carry a session that delivers whatever arrived.
    """
    sock = writer.get_extra_info("socket")
    if writer.get_extra_info("ssl_object") is not None:
        raise ValueError("the streams are over TLS, not over a bare socket")
    if sock is None or sock.fileno() < 0 or writer.is_closing():
        raise NotConnectedError("the streams are not over an open socket")
    if (error := reader.exception()) is not None:
        raise error
    duplicate = fork.hold(lambda: socket.socket(fileno=os.dup(sock.fileno())))
    # Neither waits: the reader is told that nothing follows what it holds.
    reader.feed_eof()
    try:
        reader.read().send(None)
    except StopIteration as held:
        transport = cast(asyncio.Transport, writer.transport)
        return _TakenOver(loop, duplicate, held.value, transport)
    raise AssertionError("unreachable: reading what is there does not wait")


class _TakenOver(SocketStream):
    """The socket of an asyncio transport, which is let go once its output has gone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        early: bytes,
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(loop, sock, early)
        self._transport: asyncio.Transport | None = transport
        # The loop closes it some time after it was let go, in a later turn.
        number = transport.get_extra_info("socket").fileno()
        self._original = fork.ForeignDescriptor(number)
        transport.pause_reading()
        self._let_go()

    def read(self, size: int) -> bytes:
        data = super().read(size)
        self._check(len(data))
        return data

    def read_into(self, room: memoryview) -> int:
        count = super().read_into(room)
        self._check(count)
        return count

    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        if not self._let_go():
            if self.broken():  # which the loop may not tell again
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            raise BlockingIOError(errno.EAGAIN, "output from before the session is waiting")
        return super().write(buffers)

    def release(self) -> None:
        self._let_go(at_once=True)
        super().release()

    def leave(self) -> None:
        self._transport = None  # to let it go is the parent's
        with contextlib.suppress(OSError):  # which it has done
            self._original.replace()
        super().leave()

    def _check(self, count: int) -> None:
        """Take an end for the reset that it was, if the transport has met it first."""
        self._let_go()
        if count == 0 and self._failed:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def _let_go(self, *, at_once: bool = False) -> bool:
        """Have the transport close its own descriptor, which is not the connection."""
        if self._transport is None:
            return True
        self._failed = self._transport.is_closing()  # it has met a reset before us
        if self._transport.get_write_buffer_size() and not (at_once or self._failed):
            return False
        self._transport.abort()
        self._transport = None
        return True


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
        self._listener.turn_away(stream)
        return stream

    def _holds_something(self) -> bool:
        return hasattr(self, "_listener")  # not if construction failed

    def _forget_peer(self) -> None:
        self._listener.forget()

    def _dispose(self) -> None:
        self._listener.close()


def check_users(users: Any) -> frozenset[int]:
    """Return ``users``, or raise TypeError or ValueError unless they are user ids."""
    found = tuple(users) if isinstance(users, Iterable) else (None,)
    if isinstance(users, str | bytes) or not all(type(user) is int for user in found):
        raise TypeError(
            f"allowed_users is a collection of user ids, such as [1000], not {users!r};"
            " pwd.getpwnam(name).pw_uid is the id of a name"
        )
    for user in found:
        if not 0 <= user < _NO_USER:
            raise ValueError(f"allowed_users has {user}, not within 0 and {_NO_USER - 1}")
    return frozenset(found)


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
        address = rendezvous.parse(in_path, out_path)
        if not isinstance(address, rendezvous.TCPAddress):
            raise BadRendezvousError(f"bad rendezvous {in_path!r}: not a TCP address")
        self._address = address

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
            if code not in (0, *_RESET_SINCE):
                raise OSError(code, os.strerror(code))
            # A connection to a free port can meet itself.
            if sock.getsockname()[:2] != address:
                return SocketStream(loop, sock, was_reset=code in _RESET_SINCE)
        except OSError as error:
            fork.close(sock)
            no_ipv6 = error.errno == errno.EADDRNOTAVAIL and sock.family != socket.AF_INET
            if no_ipv6 or error.errno in _NEVER:
                raise _never(address, error) from error
            if error.errno in _LACKING:
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
