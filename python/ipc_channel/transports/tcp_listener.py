"""The listening socket of a TCP server (spec/rendezvous.md, "TCP").

From the first ``accept`` on, and for as long as its loop runs, the listener looks
at all who come, a batch in each turn of the loop::

    idle ──accept──> admitting ──a peer was accepted──> busy, or idle
                         ^                                │
                         └──────── its session ends ──────┘

While it is admitting, it lets in the first peer of an allowed user and resets all
others. While it is busy, it resets everybody. So strangers cannot fill the kernel's
queue between two sessions, nor hold up the loop for longer than one batch takes.
Without an ``accept`` that waits, the peer is kept for the next one; whoever comes
after it waits in the queue, until the session with it resets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable

from ipc_channel import fork
from ipc_channel.transports.peer_user import Owner, OwnerQuery
from ipc_channel.transports.refusals import Refusals
from ipc_channel.transports.tcp_stream import SocketStream
from ipc_channel.users import is_ambiguous

# Connections that wait in the kernel, so that a flood leaves room for a helper.
_BACKLOG = 1024
_BATCH = 16  # connections looked at in one turn of the loop: about a millisecond
# Where the kernel does not answer for each, one look into its table has to do for many:
# it takes as long for all as for one.
_TABLE_BATCH = 256
_PAUSE = 0.1  # seconds until another try, when no descriptor was left
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Listener:
    """A listening socket that keeps its port from construction to ``close``.

    ``allowed_users`` may connect besides our own effective user, who is looked up
    each time: a service may give up its privileges after it has made its channel.
    """

    def __init__(self, allowed_users: frozenset[int], logger: logging.Logger) -> None:
        self._allowed_users = allowed_users
        self._undecided: list[socket.socket] = []  # the kernel was not asked about them yet
        self._admitted: socket.socket | None = None  # let in, for the next ``accept``
        self._batch = _BATCH
        self._accepting: asyncio.Future[socket.socket] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # that watches the socket
        self._watching: set[asyncio.AbstractEventLoop] = set()  # that have a reader for it
        self._lock = threading.RLock()  # a loop in another thread may be looking just now
        self._closed = False
        self._resumption: asyncio.TimerHandle | None = None
        self._socket = fork.hold(socket.socket)
        try:
            # Without SO_REUSEADDR nobody else can bind the port beside us.
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            self._socket.setblocking(False)
            self._socket.bind(("127.0.0.1", 0))
            self._socket.listen(_BACKLOG)
        except BaseException:
            fork.close(self._socket)
            raise
        self.port: int = self._socket.getsockname()[1]
        self.refusals = Refusals(logger, f"port {self.port}")
        fork.in_child(self, Listener.leave)

    async def accept(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Return the connection of the first peer that may come in.

        Also when it is cancelled just after one has: a peer that was let in takes
        itself for connected, and must not be lost.
        """
        self.refusals.begin()
        if self._admitted is not None and _has_left_silently(self._admitted):
            self._drop_admitted()
        accepting: asyncio.Future[socket.socket] = loop.create_future()
        self._accepting = accepting
        try:
            with self._lock:
                self.admit(loop)
                self._admit()
            return await accepting
        except asyncio.CancelledError:
            if not accepting.done() or accepting.cancelled() or accepting.exception():
                raise
            return accepting.result()
        finally:
            self._accepting = None

    def admit(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at all who come, and let the first one in who may."""
        self._watch(loop, self._admit)

    def reject_others(self, stream: SocketStream) -> None:
        """Reset everybody else who comes while the peer of ``stream`` is there."""

        def look() -> None:
            if stream.closed or stream.ended():  # the next one is for the next connect
                self.admit(stream.loop)
                return
            try:
                for sock in self._accept_some():
                    reset(sock)
            except OSError:  # no descriptors left: they have to wait in the queue
                self.pause_accepting()
                self._resumption = stream.loop.call_later(
                    _PAUSE, self.reject_others, stream
                )

        self._watch(stream.loop, look)

    def pause_accepting(self) -> None:
        """Let those who come wait in the kernel's queue."""
        if self._resumption is not None:
            self._resumption.cancel()
            self._resumption = None
        loop, self._loop = self._loop, None
        if loop is not None:
            self._in_loop(loop, self._unwatch)

    def leave(self) -> None:
        """Watch no more in a forked child, without touching the loop, which is the parent's."""
        self._loop = None
        self._watching.clear()

    def close(self) -> None:
        """Give up the port at once; whoever still waits is reset.

        Another loop that watches the socket stops doing so first: a descriptor that
        is closed while it is watched leaves a dead entry behind.
        """
        self.pause_accepting()
        self.forget()
        # A child that was forked without our hook may hold a copy, which would listen on.
        with contextlib.suppress(OSError):  # systems other than Linux
            self._socket.shutdown(socket.SHUT_RDWR)
        self._closed = True
        self._close_unless_watched()
        self.refusals.stop()

    def _in_loop(
        self,
        loop: asyncio.AbstractEventLoop,
        call: Callable[[asyncio.AbstractEventLoop], None],
    ) -> None:
        """Call ``call(loop)``, in the thread of ``loop`` if it runs in another one."""
        if loop.is_running() and not _is_running(loop):
            with contextlib.suppress(RuntimeError):  # it was closed just now
                loop.call_soon_threadsafe(call, loop)
                return
        call(loop)

    def _close_unless_watched(self) -> None:
        if self._closed and not self._watching:
            fork.close(self._socket)

    def forget(self) -> None:
        """Reset who has come since the last ``accept``, and those in the queue."""
        self._drop_admitted()
        for sock in self._undecided:
            reset(sock)
        self._undecided.clear()
        with contextlib.suppress(OSError):  # no descriptor left, or closed already
            for _ in range(_BACKLOG // _BATCH):
                socks = self._accept_some()
                for sock in socks:
                    reset(sock)
                if len(socks) < self._batch:
                    break

    def _drop_admitted(self) -> None:
        if self._admitted is not None:
            reset(self._admitted)
            self._admitted = None

    def _watch(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self.pause_accepting()
        if self._socket.fileno() >= 0 and not loop.is_closed():
            self._loop = loop
            self._watching.add(loop)
            loop.add_reader(self._socket.fileno(), self._call_in, loop, callback)

    def _call_in(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]
    ) -> None:
        with self._lock:
            if self._loop is loop:  # or else another loop has taken over
                callback()

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop:
            return  # it has the socket again
        if not loop.is_closed() and self._socket.fileno() >= 0:
            loop.remove_reader(self._socket.fileno())
        self._watching.discard(loop)
        self._close_unless_watched()

    def _admit(self) -> None:
        """Let somebody in, out of the next batch of those who have come."""
        loop = self._loop
        assert loop is not None
        try:
            if self._admitted is None:
                self._admitted = self._choose(loop)
        except OSError as error:  # no descriptors left, for instance
            self.pause_accepting()
            if self._accepting is not None and not self._accepting.done():
                self._accepting.set_exception(error)
        if self._admitted is not None:
            self.pause_accepting()
            if self._accepting is not None and not self._accepting.done():
                self._accepting.set_result(self._admitted)
                self._admitted = None
        self.refusals.report(loop)  # last: a logging handler may raise

    def _choose(self, loop: asyncio.AbstractEventLoop) -> socket.socket | None:
        """Return the first peer of a batch that may come in; reset the others."""
        chosen = None
        start = loop.time()
        with OwnerQuery() as query:
            # They stay undecided if nobody can be asked, or an exception strikes.
            self._undecided += self._accept_some()
            owners = query.owners(self._undecided)
            by_table = query.used_table
            self._batch = _TABLE_BATCH if by_table else _BATCH
        for owner in owners:
            sock = self._undecided[0]
            may_enter = self._may_enter(owner)
            if may_enter and chosen is None:
                sock.setblocking(False)
                chosen = sock
            else:
                if not may_enter:
                    self.refusals.count(owner)
                reset(sock)
            del self._undecided[0]
        if by_table and chosen is None:
            # Leave the loop to others for as long as this took.
            self.pause_accepting()
            self._resumption = loop.call_later(loop.time() - start, self.admit, loop)
        return chosen

    def _accept_some(self) -> list[socket.socket]:
        """Accept a batch; raise OSError if not even one can be, for want of a descriptor."""
        socks: list[socket.socket] = []
        for _ in range(self._batch):
            try:
                socks.append(fork.hold(lambda: self._socket.accept()[0]))
            except BlockingIOError:
                break
            except ConnectionAbortedError:
                continue
            except OSError:
                if socks:
                    break
                raise
        return socks

    def _may_enter(self, owner: Owner) -> bool:
        if sys.platform != "linux":
            return True  # nothing here tells whose a loopback socket is
        is_allowed = owner == os.geteuid() or owner in self._allowed_users
        return owner is not None and is_allowed and not is_ambiguous(owner)


def _has_left_silently(sock: socket.socket) -> bool:
    """Whether a peer has gone again without having sent anything."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` is the one that runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    fork.close(sock)
