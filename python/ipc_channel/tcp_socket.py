"""The transport over loopback TCP (spec/rendezvous.md, "TCP")."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Unpack

from ipc_channel import rendezvous
from ipc_channel.endpoint import (
    Endpoint,
    Options,
    check_options,
    check_running,
    default_logger,
    warn_unclosed,
)
from ipc_channel.errors import (
    BadRendezvousError,
    EndReason,
    IPCChannelError,
    NotConnectedError,
)
from ipc_channel.interface import IPCChannel
from ipc_channel.peer_user import peer_user
from ipc_channel.session import Session
from ipc_channel.stream import Stream, backoff, unwatch

if TYPE_CHECKING:
    from typing_extensions import Buffer

if sys.platform == "linux":
    import fcntl
    import termios

_BACKLOG = 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class SocketStream(Stream):
    """A connected socket, which the stream owns from now on."""

    # libuv tells of a reset once, along with the data before it, and never again.
    reads = 16

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, early: bytes = b""
    ) -> None:
        super().__init__(loop)
        self.early = early
        self._socket = sock
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # not TCP, or gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def in_fd(self) -> int:
        return self._socket.fileno()

    def out_fd(self) -> int:
        return self._socket.fileno()

    def read(self, size: int) -> bytes:
        return self._socket.recv(size)

    def read_into(self, room: memoryview) -> int:
        return self._socket.recv_into(room)

    def write(self, buffers: Sequence[bytes | memoryview]) -> int:
        if len(buffers) > 1 and hasattr(self._socket, "sendmsg"):
            return self._socket.sendmsg(buffers)
        return self._socket.send(buffers[0])

    def finish_writing(self) -> bool:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the connection is gone
            return False
        return True

    def unsent(self) -> int | None:
        if sys.platform != "linux":
            return None
        count = fcntl.ioctl(self._socket, termios.TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", count)[0])

    def release(self) -> None:
        self._socket.close()

    def ended(self) -> bool:
        """Whether the peer has gone or ended its direction, read or not."""
        if not hasattr(select, "POLLRDHUP"):
            return False
        poller = select.poll()
        poller.register(self._socket, select.POLLRDHUP)
        return bool(poller.poll(0))


class TCPSocketProtocol:
    """A session over an established asyncio stream pair.

    The pair must not be used for reading and writing any more: the session
    takes over the connection, with what ``reader`` holds. Options are those
    of :func:`ipc_channel.make_ipc_channel_client`.

    Raises WrongLoopError for a ``loop`` other than the running one, ValueError
    for a pair over TLS, which this would bypass, or with unsent output.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.logger = logger
        self._writer = writer
        checked = check_options(options)
        stream = _take_over(reader, writer, check_running(loop))
        self._session = Session(stream, logger=logger, **checked)

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
        await self._session.write(data)

    async def read(self) -> bytes | None:
        """See :meth:`ipc_channel.IPCChannelClient.read`."""
        return await self._session.read()

    async def close(self) -> None:
        """See :meth:`ipc_channel.IPCChannelClient.close`."""
        await self._session.close()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None and not session.released:
            warn_unclosed(self)
            session.abandon()


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
    if sock is None or sock.fileno() < 0:
        raise NotConnectedError("the streams are not over an open socket")
    if size := writer.transport.get_write_buffer_size():
        raise ValueError(f"the writer still holds {size} unsent bytes")
    duplicate = socket.socket(fileno=os.dup(sock.fileno()))
    # Neither waits: the reader is told that nothing follows what it holds.
    reader.feed_eof()
    try:
        reader.read().send(None)
    except StopIteration as held:
        stream = SocketStream(loop, duplicate, held.value)
    except BaseException:
        duplicate.close()
        raise
    writer.transport.abort()  # closes its own descriptor, not the connection
    return stream


class _Listener:
    """A listening socket that keeps its port from construction to ``close``."""

    def __init__(self, users: Collection[int]) -> None:
        self._users = users
        self._kept: list[socket.socket] = []  # accepted when connect was just giving up
        self._unwatch: Callable[[], object] | None = None
        self._socket = socket.socket()
        try:
            # Without SO_REUSEADDR nobody else can bind the port beside us.
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            self._socket.setblocking(False)
            self._socket.bind(("127.0.0.1", 0))
            self._socket.listen(_BACKLOG)
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    async def accept(
        self, loop: asyncio.AbstractEventLoop, logger: logging.Logger
    ) -> socket.socket:
        """Return the connection of the first peer that may come in."""
        found: asyncio.Future[socket.socket] = loop.create_future()

        def look() -> None:
            try:
                while not found.done():
                    sock = self._next()
                    if self._may_enter(sock, logger):
                        found.set_result(sock)
            except (BlockingIOError, ConnectionAbortedError):
                pass
            except OSError as error:  # no descriptors left, for instance
                found.set_exception(error)

        look()
        self.watch(loop, look)
        try:
            return await found
        except asyncio.CancelledError:
            if found.done() and not found.cancelled() and not found.exception():
                self._kept.append(found.result())
            raise
        finally:
            self.rest()

    def turn_away(self, stream: SocketStream) -> None:
        """Reset everybody else who comes while the peer of ``stream`` is there."""

        def look() -> None:
            if stream.ended():  # this is the next one: it waits for the next connect
                self.rest()
                return
            with contextlib.suppress(OSError):
                _reset(self._next())

        self.watch(stream.loop, look)

    def watch(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever somebody has come, until :meth:`rest`."""
        self.rest()
        loop.add_reader(self._socket.fileno(), callback)
        self._unwatch = partial(unwatch, loop, self._socket.fileno())

    def rest(self) -> None:
        """Let those who come wait in the queue."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    def close(self) -> None:
        """Give up the port; whoever still waits is reset."""
        self.rest()
        self._socket.close()
        for sock in self._kept:
            sock.close()

    def _next(self) -> socket.socket:
        return self._kept.pop() if self._kept else self._socket.accept()[0]

    def _may_enter(self, sock: socket.socket, logger: logging.Logger) -> bool:
        if sys.platform != "linux":
            return True  # nothing here tells whose a loopback socket is
        user = peer_user(sock)
        if user in self._users:
            return True
        logger.warning(
            "turned away a process of %s",
            "unknown user" if user is None else f"user {user}",
        )
        _reset(sock)
        return False


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


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
        allowed_users: Collection[int] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(logger, loop, **options)
        own = () if sys.platform != "linux" else (os.geteuid(),)
        self._listener = _Listener({*own, *check_users(allowed_users)})

    @property
    def in_path(self) -> str:
        return str(self._listener.port)

    @property
    def out_path(self) -> str:
        return str(self._listener.port)

    async def _open(self) -> SocketStream:
        loop = asyncio.get_running_loop()
        sock = await self._listener.accept(loop, self.logger)
        stream = SocketStream(loop, sock)
        stream.on_end = self._listener.rest
        self._listener.turn_away(stream)
        return stream

    def _holds_something(self) -> bool:
        return hasattr(self, "_listener")  # not if construction failed

    def _dispose(self) -> None:
        self._listener.close()


def check_users(users: Collection[int]) -> Collection[int]:
    """Return ``users``, or raise TypeError unless it is a collection of user ids."""
    if isinstance(users, str | bytes) or not all(isinstance(user, int) for user in users):
        raise TypeError(f"allowed_users is a collection of user ids, not {users!r}")
    return users


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

    async def _open(self) -> SocketStream:
        loop = asyncio.get_running_loop()
        for pause in backoff():
            sock = await self._attempt(loop)
            if sock is not None:
                return SocketStream(loop, sock)
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the pauses never end")

    async def _attempt(self, loop: asyncio.AbstractEventLoop) -> socket.socket | None:
        """Connect once; None if nobody listens."""
        address = (self._address.host, self._address.port)
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
            # A connection to a free port can meet itself.
            if sock.getsockname() != sock.getpeername():
                return sock
        except (ConnectionError, BlockingIOError):
            pass  # nobody listens, or not any more
        except OSError as error:
            sock.close()
            raise BadRendezvousError(
                f"bad rendezvous {address}: {error.strerror}"
            ) from error
        except BaseException:
            sock.close()
            raise
        sock.close()
        return None
