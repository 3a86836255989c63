"""The writing half of a session (spec/session.md, "Writing").

The first frames of a loop iteration go straight to the kernel; those that follow in
the same iteration are batched at its end. Output that the kernel does not take waits
in a queue. While the queue holds more than ``WRITE_AHEAD`` bytes, further writers block
in the order of their calls, with their frames outside the queue. So the frame of a
blocked writer that is cancelled is not sent at all, and a queued frame is sent whole.
"""

from __future__ import annotations

import asyncio
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

# Frames that bypass the queue in one loop iteration. Two, so that of two writes after the peer
# has left, the second fails. A third, so that one write schedules no callback.
_EAGER_BUDGET = 3
_AT_MOST = 2**20  # bytes at a time, so that a fast reader does not block the loop
GATHER = 64  # buffers per system call


class Sender:
    """Writes messages to ``stream`` for as long as ``state`` allows.

    ``on_failure`` is called with the event and the error of a failed write.
    ``on_interrupt`` is called with an exception that was raised between two system
    calls, by a signal handler for instance: it is then unknown what the kernel has taken.
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
        self.stream = stream
        self.state = state
        self.max_message_size = max_message_size
        self._on_failure = on_failure
        self.on_interrupt = on_interrupt
        self.large_messages = LargeMessages()
        self.queue: deque[Piece] = deque()
        self._small: list[bytes] = []  # small frames behind the queue, to be joined
        self.size = 0
        """Bytes in both, which the kernel has not taken."""
        self.dropped = 0
        """Bytes of messages that writers had handed over, and that can never be sent."""
        self._blocked_writers: deque[tuple[asyncio.Future[None], bytes]] = deque()
        self._drain_waiters: list[asyncio.Future[None]] = []  # until the queue is short
        self._eager_budget = _EAGER_BUDGET
        self._watching = False
        self._emptied: asyncio.Future[None] | None = None

    def write(self, data: Buffer) -> Coroutine[None, None, None] | None:
        """Send ``data`` as one message; return what the caller must await, if anything.

        It need not be awaited at once. Afterwards at most ``WRITE_AHEAD`` bytes are queued.
        """
        stream = self.stream
        if get_ident() != stream.thread or not stream.loop.is_running():
            stream.check_loop()
        if type(data) is not bytes or not 0 < len(data) <= self.max_message_size:
            data = message_bytes(data, self.max_message_size)
        state = self.state
        if state.write_error is not None:
            raise state.refusal()
        if self._blocked_writers or self.size > WRITE_AHEAD:
            self._blocked_writers.append((stream.loop.create_future(), data))
            return self._wait_in_turn(self._blocked_writers[-1])
        size = len(data)
        try:
            if self.size and size <= JOINED:  # inlined from _enqueue
                small = self._small
                small.append(encode_header(size))
                small.append(data)
                self.size += HEADER_SIZE + size
            else:
                self._enqueue(data)
            if self._eager_budget:
                self._write_eagerly()
        except BaseException as error:
            self.on_interrupt(error)
            raise
        if state.write_error is not None:
            raise state.refusal()
        return self._shortened() if self.size > WRITE_AHEAD else None

    @property
    def has_waiting_writers(self) -> bool:
        """Whether a write waits until the peer reads."""
        return bool(self._blocked_writers or self._drain_waiters)

    def begin_turn(self) -> None:
        """Renew the eager budget: a new loop iteration has begun."""
        self._eager_budget = _EAGER_BUDGET

    def hold_back(self) -> None:
        """Until :meth:`end_turn`, queue what is written without a system call."""
        self._eager_budget = 0

    def close(self) -> asyncio.Future[None]:
        """Queue the close frame; done once all is in the kernel, or can never be sent."""
        emptied: asyncio.Future[None] = self.stream.loop.create_future()
        self._emptied = emptied
        if self.state.sends:
            self._small.append(CLOSE_FRAME)
            self.size += len(CLOSE_FRAME)
            self._on_writable()
        else:
            wake(emptied)
        return emptied

    def follow_state(self) -> None:
        """Once writing has ended, wake all writers, and drop what must not be sent."""
        if self.state.write_error is None:
            return
        if not self.state.sends:
            self._count_dropped()
        for waiter in (*self._drain_waiters, *(one for one, _ in self._blocked_writers)):
            wake(waiter)
        self._drain_waiters.clear()
        self._blocked_writers.clear()
        if not self.state.sends:
            self.drop()

    def drop(self) -> None:
        """Drop the output that the kernel has not taken."""
        self._count_dropped()
        self.queue.clear()
        self._small.clear()
        self._watch()

    def _count_dropped(self) -> None:
        close_frame = 0 if self._emptied is None else len(CLOSE_FRAME)
        self.dropped += max(self.size - close_frame, 0)
        self.size = 0

    def size_hint(self, *, was_reset: bool) -> str:
        """Return a hint for an error if the peer may have refused a message as too large."""
        return self.large_messages.hint(self.queue, was_reset=was_reset)

    async def _wait_in_turn(self, entry: tuple[asyncio.Future[None], bytes]) -> None:
        """Wait until the frame is in the queue, and then as any other writer does."""
        try:
            await entry[0]
        except BaseException:
            if entry in self._blocked_writers:
                self._blocked_writers.remove(entry)
            raise
        self.state.check_write()
        if self.size > WRITE_AHEAD:
            await self._shortened()

    def _shortened(self) -> Coroutine[None, None, None]:
        """Return what waits until at most ``WRITE_AHEAD`` bytes are queued."""
        self._drain_waiters.append(self.stream.loop.create_future())
        return self._wait_for(self._drain_waiters[-1])

    async def _wait_for(self, sent: asyncio.Future[None]) -> None:
        await sent
        self.state.check_write()

    def _enqueue(self, payload: bytes) -> None:
        size = len(payload)
        header = encode_header(size)
        if size > JOINED:
            if size > WRITE_AHEAD:
                self.large_messages.last = size
            self._join()
            self.queue += header, payload
        elif self.size:
            small = self._small
            small.append(header)
            small.append(payload)
        else:
            self.queue.append(header + payload)
        self.size += HEADER_SIZE + size

    def _join(self) -> None:
        """Join small buffers: that costs less than passing each to the kernel."""
        if self._small:
            self.queue.append(bytearray().join(self._small))
            self._small.clear()

    def _write_eagerly(self) -> None:
        self._eager_budget -= 1
        if self._eager_budget == 1:
            # Twice, as a signal handler may raise at the very entry of the first.
            self.stream.loop.call_soon(self.end_turn)
            self.stream.loop.call_soon(self.end_turn)
        self.flush()

    def end_turn(self) -> None:
        """Write what was queued in this loop iteration."""
        try:
            self.begin_turn()
            self.flush()
        except BaseException as error:
            self.on_interrupt(error)
            raise

    def _on_writable(self) -> None:
        try:
            self.flush()
        except BaseException as error:
            self.on_interrupt(error)
            raise

    def flush(self) -> None:
        """Write what the kernel takes, and watch for room if output is left."""
        queue, room = self.queue, _AT_MOST
        while self.size and room > 0:
            self._join()
            try:
                pieces = queue if len(queue) == 1 else list(islice(queue, GATHER))
                count = self.stream.write(pieces)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self.on_error(error)
                return
            room -= count
            self._drop(count)
            if self._drain_waiters or self._blocked_writers:
                self._admit()
        if self.size or self._watching or self._emptied is not None:
            self._watch()

    def _drop(self, count: int) -> None:
        """Remove ``count`` written bytes from the queue."""
        self.size -= count
        if not self.size:
            self.queue.clear()
            return
        while count:
            size = len(self.queue[0])
            if size > count:
                self.queue[0] = memoryview(self.queue[0])[count:]
                return
            count -= size
            self.queue.popleft()

    def _admit(self) -> None:
        """Wake waiting writers as far as the queue has room."""
        if self.size <= WRITE_AHEAD:
            for sent in self._drain_waiters:
                wake(sent)
            self._drain_waiters.clear()
        while self._blocked_writers and self.size <= WRITE_AHEAD:
            admitted, payload = self._blocked_writers[0]
            if wake(admitted):
                self._enqueue(payload)
            # Last: an exception in between ends the session, which wakes all writers.
            del self._blocked_writers[0]

    def _watch(self) -> None:
        if self.size and not self._watching:
            self._watching = True
            self.stream.start_writing(self._on_writable)
        elif not self.size:
            if self._emptied is not None:
                wake(self._emptied)
            if self._watching:
                self._watching = False
                self.stream.stop_writing()

    def on_error(self, cause: OSError) -> None:
        is_reset = isinstance(cause, ConnectionResetError)
        error = PeerGoneError(
            f"the peer no longer reads: {cause}{self.size_hint(was_reset=is_reset)}"
        )
        error.__cause__ = cause.with_traceback(None)  # a traceback would keep frames alive
        event = Event.RESET_ON_WRITE if is_reset else Event.PEER_GONE_ON_WRITE
        self._on_failure(event, error)
