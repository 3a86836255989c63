"""The listening socket of a server over TCP or Unix sockets (spec/rendezvous.md).

From the first ``accept`` on, and for as long as its loop runs, the listener checks
every connection, one batch in each loop iteration::

    idle ──accept──> admitting ──a peer was accepted──> busy, or idle
                         ^                                │
                         └──────── its session ends ──────┘

While it is admitting, it accepts the first peer of an allowed user and turns away all
other connections. While it is busy, it turns away every connection. So other users can
neither fill the kernel's queue between two sessions nor block the loop for longer than
one batch takes. If no ``accept`` waits, the listener keeps the peer for the next
``accept``; later connections wait in the queue until the session of that peer begins
and turns them away.

How a connection is checked and turned away depends on the transport (``gate.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator

from ipc_channel import fork
from ipc_channel.aio.readiness import unwatch_input, watcher_of
from ipc_channel.aio.usage import runs_here
from ipc_channel.transports.gate import Gate
from ipc_channel.transports.refusals import Refusals
from ipc_channel.transports.socket_stream import SocketStream, has_left_silently

# Large enough that a flood of connections leaves room for the helper's.
BACKLOG = 1024
_BATCH = 16  # connections checked in one loop iteration: about a millisecond
# Where the kernel answers no single queries, its table is read: once for a whole batch.
_TABLE_BATCH = 256
_PAUSE = 0.1  # seconds until the next attempt when no descriptor was free

_Loop = asyncio.AbstractEventLoop


class Listener:
    """A listening socket that keeps its address from construction to ``close``.

    ``place`` names it in logs. If ``is_shared``, other processes listen on the same
    socket, and ``close`` leaves it to them.
    """

    def __init__(
        self,
        sock: socket.socket,
        gate: Gate,
        logger: logging.Logger,
        place: str,
        *,
        is_shared: bool = False,
    ) -> None:
        self._socket = sock
        self._gate = gate
        self._is_shared = is_shared
        self._undecided: list[socket.socket] = []  # their users are not checked yet
        self._admitted: socket.socket | None = None  # kept for the next ``accept``
        self._batch = _BATCH
        self._accepting: asyncio.Future[socket.socket] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # that watches the socket
        self._watching: set[asyncio.AbstractEventLoop] = set()  # that have a reader for it
        self._lock = threading.RLock()  # a loop in another thread may be accepting
        self.closing = self._closed = False
        self._resumption: asyncio.TimerHandle | None = None
        self.refusals = Refusals(logger, place)
        fork.in_child(self, Listener.leave)

    async def accept(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Return the connection of the first peer of an allowed user.

        Returns it even if cancelled just after accepting it: that peer takes itself
        for connected, and must not be lost.
        """
        self.refusals.begin()
        if self._admitted is not None and has_left_silently(self._admitted):
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

    def fail(self, error: Exception) -> None:
        """Have an ``accept`` that waits raise ``error``."""
        if self._accepting is not None and not self._accepting.done():
            self._accepting.set_exception(error)

    def admit(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check every connection, and accept the first peer of an allowed user."""
        self._watch(loop, self._admit)

    def on_session_end(self, loop: asyncio.AbstractEventLoop) -> None:
        self.admit(loop)

    def reject_others(self, stream: SocketStream) -> None:
        """Turn away all other connections while the peer of ``stream`` is connected."""

        def look() -> None:
            if stream.closed or stream.ended():  # the next peer is for the next connect
                self.admit(stream.loop)
                return
            try:
                for sock in self._accept_some():
                    self._gate.turn_away(sock)
            except OSError:  # no descriptor is free: connections wait in the queue
                self.pause_accepting()
                self._resumption = stream.loop.call_later(
                    _PAUSE, self.reject_others, stream
                )

        self._watch(stream.loop, look)

    def can_replace(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether no loop but ``loop``, in which this is called, runs and watches."""
        return not any(one.is_running() for one in self._watching - {loop})

    def replace(self, sock: socket.socket) -> None:
        """Listen on ``sock`` from now on, and keep what waits at the old socket."""
        if sock is self._socket:
            return
        with self._lock:
            loop = self._loop
            with contextlib.suppress(OSError):  # no descriptor left: they are turned away
                for socks in self._batches():
                    self._undecided += socks
            self.pause_accepting()
            old, self._socket = self._socket, sock
            fork.close(old)
            if loop is not None and not loop.is_closed():
                self.admit(loop)
                self._admit()  # at once: no event will report what was in the queue

    def pause_accepting(self) -> None:
        """Leave new connections in the kernel's queue."""
        if self._resumption is not None:
            self._resumption.cancel()
            self._resumption = None
        loop, self._loop = self._loop, None
        if loop is not None:
            self._in_loop(loop, self._unwatch)

    def leave(self) -> None:
        """In a forked child: stop watching, without touching the parent's loop."""
        self._loop = None
        self._watching.clear()

    def close(self) -> None:
        """Free the address at once, and turn away the queue, unless it is shared.

        Another loop that watches the socket stops first, or it would keep a dead entry.
        """
        self.closing = True  # first: from now on no loop in another thread watches it again
        self.pause_accepting()
        self._forget_accepted()
        if not self._is_shared:
            self.forget()
            # A child forked without our hook may hold a copy, which would keep listening.
            with contextlib.suppress(OSError):  # systems other than Linux
                self._socket.shutdown(socket.SHUT_RDWR)
        self._closed = True
        self._close_unless_watched()
        self.refusals.stop()

    def _in_loop(self, loop: _Loop, call: Callable[[_Loop], None]) -> None:
        """Call ``call(loop)``; if ``loop`` runs in another thread, call it there."""
        if loop.is_running() and not runs_here(loop):
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(call, loop)
                return
        call(loop)

    def _close_unless_watched(self) -> None:
        if self._closed and not self._watching:
            fork.close(self._socket)

    def forget(self) -> None:
        """Turn away the connections accepted since the last ``accept``, and the queue."""
        self._forget_accepted()
        with contextlib.suppress(OSError):  # no descriptor is free, or already closed
            for socks in self._batches():
                for sock in socks:
                    self._gate.turn_away(sock)

    def _forget_accepted(self) -> None:
        self._drop_admitted()
        for sock in self._undecided:
            self._gate.turn_away(sock)
        self._undecided.clear()

    def _drop_admitted(self) -> None:
        if self._admitted is not None:
            self._gate.turn_away(self._admitted)
            self._admitted = None

    def _watch(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self.pause_accepting()
        if not (self.closing or loop.is_closed()):
            self._loop = loop
            self._watching.add(loop)
            number = self._socket.fileno()
            watcher_of(loop).add_reader(number, self._call_in, loop, callback)

    def _call_in(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]
    ) -> None:
        with self._lock:
            if self._loop is loop:  # or else another loop has taken over
                callback()

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop:
            return  # this loop watches the socket again
        if self._socket.fileno() >= 0:
            unwatch_input(loop, self._socket.fileno())
        self._watching.discard(loop)
        self._close_unless_watched()

    def _admit(self) -> None:
        """Accept a peer from the next batch of connections, if one is allowed."""
        loop = self._loop
        assert loop is not None
        try:
            if self._admitted is None:
                self._admitted = self._choose(loop)
        except OSError as error:  # no descriptor is free, for instance
            self.pause_accepting()
            self.fail(error)
        if self._admitted is not None:
            self.pause_accepting()
            if self._accepting is not None and not self._accepting.done():
                self._accepting.set_result(self._admitted)
                self._admitted = None
        self.refusals.report(loop)  # last: a logging handler may raise

    def _choose(self, loop: asyncio.AbstractEventLoop) -> socket.socket | None:
        """Return the first peer of an allowed user in a batch; turn away the others."""
        chosen = None
        start = loop.time()
        with self._gate.query() as query:
            # They stay undecided if the query fails, or a signal handler raises.
            self._undecided += self._accept_some()
            owners = query.owners(self._undecided)
            by_table = query.used_table
            self._batch = _TABLE_BATCH if by_table else _BATCH
        # All before the first is let in: the last may raise, without a descriptor.
        for owner, may_enter in [(one, self._gate.may_enter(one)) for one in owners]:
            sock = self._undecided[0]
            if may_enter and chosen is None:
                sock.setblocking(False)
                chosen = sock
            else:
                if not may_enter:
                    self.refusals.count(owner)
                self._gate.turn_away(sock)
            del self._undecided[0]
        if by_table and chosen is None:
            # Yield the loop to other callbacks for as long as this took.
            self.pause_accepting()
            self._resumption = loop.call_later(loop.time() - start, self.admit, loop)
        return chosen

    def _batches(self) -> Iterator[list[socket.socket]]:
        """Accept all that the queue holds; yield one batch after the other."""
        for _ in range(BACKLOG // _BATCH):
            yield (socks := self._accept_some())
            if len(socks) < self._batch:
                break

    def _accept_some(self) -> list[socket.socket]:
        """Accept a batch; raise OSError if no descriptor is free for the first of it."""
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
