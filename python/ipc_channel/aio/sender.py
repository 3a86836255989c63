"""The writing half of a session (spec/session.md, "Writing").

The first frames of a loop turn go straight to the kernel, those that follow in
the same turn go together at its end. What the kernel does not take waits
in a queue. While more than ``WRITE_AHEAD`` is in it, writers wait in the order
in which they came, with their frames outside the queue: one that is cancelled
there is not sent at all, and a frame in the queue is always sent whole.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import islice
from threading import get_ident
from typing import TYPE_CHECKING

from ipc_channel.aio.large_messages import JOINED, LargeMessages, Piece
from ipc_channel.aio.stream import Stream
from ipc_channel.aio.waiter import wake
from ipc_channel.errors import PeerGoneError
from ipc_channel.protocol.framing import (
    CLOSE_FRAME,
    HEADER_SIZE,
    encode_header,
    message_bytes,
)
from ipc_channel.protocol.session_state import Event, SessionState

if TYPE_CHECKING:
    from typing_extensions import Buffer

WRITE_AHEAD = 64 * 2**10
"""Bytes in the queue above which a write waits."""

# Two, so that of two writes after the peer left, the second fails; and one more,
# so that who writes once a turn does not need the loop to end it.
_EAGER_BUDGET = 3  # frames that bypass the queue in one loop iteration
_AT_MOST = 2**20  # bytes at a time, so that a fast reader does not hold up the loop
_GATHER = 64  # buffers of one system call


class Sender:
    """Writes messages to ``stream`` for as long as ``state`` allows.

    ``on_failure`` is called with what a failed write means to the session, and
    ``on_interrupt`` with an exception that a signal handler, say, has raised in a
    step between two system calls: nobody knows then what the kernel has taken.
    """

    def __init__(
        self,
        stream: Stream,
        state: SessionState,
        max_message_size: int,
        *,
        on_failure: Callable[[Event, PeerGoneError], None],
        on_interrupt: Callable[[BaseException], None],
    ) -> None:
        self._stream = stream
        self._state = state
        self._max_message_size = max_message_size
        self._on_failure = on_failure
        self._on_interrupt = on_interrupt
        self._large_messages = LargeMessages()
        self._queue: deque[Piece] = deque()
        self._small: list[bytes] = []  # what comes behind, to be joined
        self._size = 0  # bytes in both
        self._blocked_writers: deque[tuple[asyncio.Future[None], bytes]] = deque()
        self._drain_waiters: list[asyncio.Future[None]] = []  # until the queue is short
        self._eager_budget = _EAGER_BUDGET
        self._watching = False
        self._emptied: asyncio.Future[None] | None = None

    @property
    def queued(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._size

    def write(self, data: Buffer) -> Coroutine[None, None, None] | None:
        """Send ``data`` as one message; return what is to be awaited, if anything is.

        Afterwards all but ``WRITE_AHEAD`` is in the kernel.
        """
        stream = self._stream
        if get_ident() != stream.thread or not stream.loop.is_running():
            stream.check_loop()
        if type(data) is not bytes or not 0 < len(data) <= self._max_message_size:
            data = message_bytes(data, self._max_message_size)
        state = self._state
        if state.write_error is not None:
            raise state.refusal()
        if self._blocked_writers or self._size > WRITE_AHEAD:
            return self._write_in_turn(data)
        size = len(data)
        try:
            if self._size and size <= JOINED:  # inlined from _enqueue
                small = self._small
                small.append(encode_header(size))
                small.append(data)
                self._size += HEADER_SIZE + size
            else:
                self._enqueue(data)
            if self._eager_budget:
                self._write_eagerly()
        except BaseException as error:
            self._on_interrupt(error)
            raise
        if state.write_error is not None:
            raise state.refusal()
        return self._shortened() if self._size > WRITE_AHEAD else None

    def begin_turn(self) -> None:
        """Let the next frames go at once again: a new turn of the loop has begun."""
        self._eager_budget = _EAGER_BUDGET

    def close(self) -> asyncio.Future[None]:
        """Queue the close frame; done when all is in the kernel, or can be sent no more."""
        emptied: asyncio.Future[None] = self._stream.loop.create_future()
        self._emptied = emptied
        if self._state.sends:
            self._small.append(CLOSE_FRAME)
            self._size += len(CLOSE_FRAME)
            self._on_writable()
        else:
            wake(emptied)
        return emptied

    def follow_state(self) -> None:
        """Let all writers go once writing is over, and drop what may not be sent any more."""
        if self._state.write_error is None:
            return
        if not self._state.sends:
            self._size = 0
        for waiter in (
            *self._drain_waiters,
            *(admitted for admitted, _ in self._blocked_writers),
        ):
            wake(waiter)
        self._drain_waiters.clear()
        self._blocked_writers.clear()
        if not self._state.sends:
            self.drop()

    def drop(self) -> None:
        """Give up what the kernel has not taken."""
        self._size = 0
        self._queue.clear()
        self._small.clear()
        self._watch()

    def size_hint(self, *, was_reset: bool) -> str:
        """Return what to add to an error if the peer may have refused a message by its size."""
        return self._large_messages.hint(self._queue, was_reset=was_reset)

    def on_peer_end(self) -> int:
        """Return the size of a large message that had passed only in part then, or 0."""
        return self._large_messages.unfinished(self._queue)

    def _check(self) -> None:
        if self._state.write_error is not None:
            raise self._state.refusal()

    async def _write_in_turn(self, payload: bytes) -> None:
        """Wait until the frame was put into the queue, and then as any other writer."""
        admitted: asyncio.Future[None] = self._stream.loop.create_future()
        entry = (admitted, payload)
        self._blocked_writers.append(entry)
        try:
            await admitted
        except BaseException:
            with contextlib.suppress(ValueError):
                self._blocked_writers.remove(entry)
            raise
        self._check()
        if self._size > WRITE_AHEAD:
            await self._shortened()

    async def _shortened(self) -> None:
        """Wait until all but ``WRITE_AHEAD`` is in the kernel."""
        sent: asyncio.Future[None] = self._stream.loop.create_future()
        self._drain_waiters.append(sent)
        await sent
        self._check()

    def _enqueue(self, payload: bytes) -> None:
        size = len(payload)
        header = encode_header(size)
        if size > JOINED:
            if size > WRITE_AHEAD:
                self._large_messages.last = size
            self._join()
            self._queue += header, payload
        elif self._size:
            small = self._small
            small.append(header)
            small.append(payload)
        else:
            self._queue.append(header + payload)
        self._size += HEADER_SIZE + size

    def _join(self) -> None:
        """Make one buffer of many: that costs less than to pass each to the kernel."""
        if self._small:
            self._queue.append(bytearray().join(self._small))
            self._small.clear()

    def _write_eagerly(self) -> None:
        self._eager_budget -= 1
        if self._eager_budget == 1:
            # Twice, since a loop forgets a callback as it calls it: if an exception of a
            # signal handler strikes at its very entry, the other one does the work.
            self._stream.loop.call_soon(self._end_turn)
            self._stream.loop.call_soon(self._end_turn)
        self._flush()

    def _end_turn(self) -> None:
        try:
            self.begin_turn()
            self._flush()
        except BaseException as error:
            self._on_interrupt(error)
            raise

    def _on_writable(self) -> None:
        try:
            self._flush()
        except BaseException as error:
            self._on_interrupt(error)
            raise

    def _flush(self) -> None:
        """Give the kernel what it takes, and watch for room if something is left."""
        queue, room = self._queue, _AT_MOST
        while self._size and room > 0:
            self._join()
            try:
                count = self._stream.write(
                    queue if len(queue) == 1 else list(islice(queue, _GATHER))
                )
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self.on_error(error)
                return
            room -= count
            self._drop(count)
            if self._drain_waiters or self._blocked_writers:
                self._admit()
        if self._size or self._watching or self._emptied is not None:
            self._watch()

    def _drop(self, count: int) -> None:
        """Take ``count`` written bytes off the queue."""
        self._size -= count
        if not self._size:
            self._queue.clear()
            return
        while count:
            size = len(self._queue[0])
            if size > count:
                self._queue[0] = memoryview(self._queue[0])[count:]
                return
            count -= size
            self._queue.popleft()

    def _admit(self) -> None:
        """Let waiting writers go on as far as the queue has room."""
        if self._size <= WRITE_AHEAD:
            for sent in self._drain_waiters:
                wake(sent)
            self._drain_waiters.clear()
        while self._blocked_writers and self._size <= WRITE_AHEAD:
            admitted, payload = self._blocked_writers[0]
            if wake(admitted):
                self._enqueue(payload)
            # Afterwards: an exception in between ends all that wait.
            del self._blocked_writers[0]

    def _watch(self) -> None:
        if self._size and not self._watching:
            self._watching = True
            self._stream.start_writing(self._on_writable)
        elif not self._size:
            if self._emptied is not None:
                wake(self._emptied)
            if self._watching:
                self._watching = False
                self._stream.stop_writing()

    def on_error(self, cause: OSError) -> None:
        is_reset = isinstance(cause, ConnectionResetError)
        hint = self.size_hint(was_reset=is_reset)
        error = PeerGoneError(f"the peer does not read any more: {cause}{hint}")
        error.__cause__ = cause.with_traceback(None)  # which would keep the frames
        self._on_failure(
            Event.RESET_ON_WRITE if is_reset else Event.PEER_GONE_ON_WRITE, error
        )
