"""The listening socket of a TCP server (spec/rendezvous.md, "TCP")."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable

from ipc_channel.peer_user import peer_user
from ipc_channel.stream import unwatch
from ipc_channel.tcp_stream import SocketStream

_BACKLOG = 16


_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Listener:
    """A listening socket that keeps its port from construction to ``close``."""

    def __init__(self, users: frozenset[int]) -> None:
        self._users = users
        self._kept: list[socket.socket] = []  # accepted, but nobody could be asked whose
        self._loop: asyncio.AbstractEventLoop | None = None  # that watches it
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
        """Return the connection of the first peer that may come in.

        Also when it is cancelled just after one has.
        """
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
            if found.cancelled() or found.exception():
                raise
            # A peer that was let in takes itself for met: it must not be lost.
            return found.result()
        finally:
            self.rest()

    def turn_away(self, stream: SocketStream) -> None:
        """Reset everybody else who comes while the peer of ``stream`` is there."""

        def look() -> None:
            if stream.ended():  # this is the next one: it waits for the next connect
                self.rest()
                return
            try:
                reset(self._next())
            except (BlockingIOError, ConnectionError):
                pass
            except OSError:  # no descriptors left: they have to wait in the queue
                self.rest()

        self.watch(stream.loop, look)

    def watch(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever somebody has come, until :meth:`rest`."""
        self._loop = loop
        loop.add_reader(self._socket.fileno(), callback)

    def rest(self) -> None:
        """Let those who come wait in the queue."""
        if self._loop is not None:
            unwatch(self._loop, self._socket.fileno())
            self._loop = None

    def close(self) -> None:
        """Give up the port; whoever still waits is reset."""
        if (
            self._loop is not None
            and self._loop.is_running()
            and not _is_running(self._loop)
        ):
            self._loop.call_soon_threadsafe(self.close)  # collected in another thread
            return
        self.rest()
        self._socket.close()
        for sock in self._kept:
            sock.close()

    def _next(self) -> socket.socket:
        if self._kept:
            return self._kept.pop()
        # The last descriptor is for asking whose the socket is: a peer that was
        # accepted takes itself for met.
        reserve = os.dup(self._socket.fileno())
        try:
            return self._socket.accept()[0]
        finally:
            os.close(reserve)

    def _may_enter(self, sock: socket.socket, logger: logging.Logger) -> bool:
        if sys.platform != "linux":
            return True  # nothing here tells whose a loopback socket is
        try:
            user = peer_user(sock)
        except OSError:  # no descriptor left for asking: let it wait
            self._kept.append(sock)
            raise
        if user in self._users:
            return True
        logger.warning(
            "port %d: turned away a peer %s",
            self.port,
            "that has left already: nobody can tell whose it was"
            if user is None
            else f"of user {user}",
        )
        reset(sock)
        return False


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` is the one that runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
