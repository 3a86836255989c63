"""One connected session over a stream, the same for every transport (spec/session.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ipc_channel.aio.receiver import Receiver
from ipc_channel.aio.sender import Sender
from ipc_channel.aio.standstill import StandstillWatch
from ipc_channel.aio.stream import Stream
from ipc_channel.aio.waiter import wake
from ipc_channel.closed import ended_here
from ipc_channel.errors import (
    EndReason,
    IPCChannelError,
    ResetError,
    SessionInterruptedError,
)
from ipc_channel.log import safely
from ipc_channel.options import DEFAULT_LINGER
from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE, Decoder
from ipc_channel.protocol.session_state import Event, Phase, SessionState

_ORDERLY = (Event.CLOSE_FRAME, Event.END_AT_BOUNDARY, Event.END_INSIDE_FRAME)
QUIET = 0.05  # seconds of silence after which close leaves a peer that took everything


class Session:
    """A session from its first byte to its end, in the event loop of ``stream``."""

    def __init__(
        self,
        stream: Stream,
        *,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        linger: float = DEFAULT_LINGER,
        logger: logging.Logger,
        name: str,
    ) -> None:
        self.stream = stream
        self._name = name
        self._linger = linger
        self._logger = logger
        self.has_requests = False
        """Whether its messages belong to a RequestChannel."""
        self.lost = 0
        """Bytes that the peer had not taken when the session was freed."""
        self._closing: asyncio.Task[Any] | None = None  # runs the first close
        self._closed: asyncio.Future[None] = stream.loop.create_future()
        self.ended: asyncio.Future[None] = stream.loop.create_future()
        """Done once the peer's direction has ended; readers may have messages left."""
        decoder = Decoder(max_message_size)
        self._state = state = SessionState(decoder.messages)
        self.sender = Sender(
            stream,
            state,
            max_message_size,
            on_failure=self._on_event,
            on_interrupt=self._on_interrupt,
        )
        self.receiver = Receiver(
            stream,
            decoder,
            state,
            on_input=self.sender.begin_turn,
            on_end=self._on_event,
            on_interrupt=self._on_interrupt,
            reset_hint=lambda: self.sender.size_hint(was_reset=True),
        )
        self.inbox = self.receiver.inbox
        self._standstill = StandstillWatch(self.sender, self.receiver, logger, name)
        self.receiver.on_far_ahead = self._standstill.begin
        if stream.was_reset:
            error = ResetError("connection reset as soon as it was made")
            self._on_event(Event.RESET_ON_WRITE, error)
        self.receiver.start()

    @property
    def closed(self) -> bool:
        """Whether everything was freed."""
        return self.stream.closed

    @property
    def closing(self) -> bool:
        """Whether a ``close`` is under way."""
        return not (self.closed or self._closing is None or self._closing.done())

    @property
    def end(self) -> EndReason | None:
        """What has ended the peer's direction; None while it lives."""
        return self._state.end

    @property
    def end_reason(self) -> EndReason | None:
        """The end that a reader has reached; None before."""
        return self._state.end_reason

    @property
    def error(self) -> IPCChannelError | None:
        """The error that ended reading, or else writing; None if none did."""
        return self._state.error

    @property
    def alive(self) -> bool:
        """Whether both directions may still be used."""
        return self._state.phase is Phase.OPEN and self.receiver.alive

    @property
    def queued(self) -> int:
        """Number of whole messages that wait for a reader."""
        return self.receiver.queued

    @property
    def loop_closed(self) -> bool:
        """Whether the loop was closed during the session, which can only be freed then."""
        return self.stream.loop.is_closed()

    def stop_delivering(self) -> None:
        """Make reads return None from now on, unless the session has ended with an error.

        What was not read stays unread, and writing goes on.
        """
        self.receiver.stop_delivering()

    async def close(self, linger: float | None = None) -> None:
        """Send what was written and the close frame, then free everything.

        Gives up ``linger`` seconds after the peer has stopped taking output.
        """
        if not self.stream.process.runs:
            return  # a forked child holds nothing
        if self.loop_closed:
            self.abort()
        self.check_loop()
        if self.closed:
            return
        first, this = self._closing, asyncio.current_task()
        if first is not None and first is not this:
            await asyncio.wait({self._closed, first}, return_when=asyncio.FIRST_COMPLETED)
            self.abort()  # does nothing, unless an exception has interrupted the first
            return
        self._closing = this
        try:
            if first is None:
                self._on_own_close()
                await self.finish(self._linger if linger is None else linger)
        finally:
            self.abort()

    def abort(self) -> None:
        """Free everything at once; output that the kernel has not taken is lost.

        If a signal handler raises in between, the next call frees the rest.
        """
        if self.closed:
            return
        self.lost = lost = self.sender.size
        try:
            self._on_own_close()
            self._standstill.end()
            self.receiver.forget()
            self.sender.drop()
        finally:
            self.stream.close()
            self._state.on(Event.LINGER_OVER)
            wake(self._closed)
        if lost:
            safely(
                self._logger.warning,
                "%s: closed with %d bytes that the peer did not take",
                self._name,
                lost,
            )

    def abandon(self) -> None:
        """Abort, in whatever thread the garbage collector runs."""
        if not self.stream.process.runs:
            return  # a forked child shares the loop's selector and must not change it
        loop = self.stream.loop
        if loop.is_running():
            loop.call_soon_threadsafe(self.abort)
        else:
            self.abort()

    async def finish(self, linger: float) -> None:
        """Send the remaining output and the close frame, and drain the connection."""
        # Read and drop input from now on: a peer that is blocked in a write would
        # otherwise never read our output.
        drained = self.receiver.discard()
        sent = self.sender.close()
        if not await self.wait(sent, linger, lambda: False) or self.closed:
            return  # an abort may have come meanwhile
        if self.stream.finish_writing():
            # Closing with unread input would make the kernel discard output that the
            # peer has not read.
            await self.wait(drained, linger, self.stream.delivered)

    async def wait(
        self, future: asyncio.Future[None], linger: float, enough: Callable[[], bool]
    ) -> bool:
        """Wait for ``future``, or until ``enough()`` is true and the peer is quiet since.

        Returns False if the peer takes nothing for ``linger`` seconds.
        """
        loop = self.stream.loop
        before, since = None, 0.0
        while not (future.done() or self.closed):
            taken = self.sender.size, self.stream.unsent()
            is_enough = enough()
            now = taken, self.receiver.discarded, is_enough
            if is_enough and now == before:
                break
            if before is None or taken != before[0]:
                since = loop.time()
            if (left := since + linger - loop.time()) <= 0:
                return False
            before = now
            await asyncio.wait({future}, timeout=min(QUIET, left))
        return True

    def _on_own_close(self) -> None:
        self._on_event(Event.CLOSE, ended_here())

    def _on_interrupt(self, cause: BaseException) -> None:
        """End the session: it is unknown which bytes were written or read."""
        error = SessionInterruptedError(
            f"{type(cause).__name__} was raised while messages were being sent or received,"
            " so it is unknown which of them were transferred whole; the session has ended:"
            " call connect again"
        )
        self._state.on(Event.INTERRUPTION, error)
        self.sender.follow_state()
        self.inbox.wake_all()
        wake(self.ended)
        self.receiver.stop()
        self._tell_stream()

    def _on_event(self, event: Event, error: IPCChannelError | None = None) -> None:
        """Follow the table of states, and wake the tasks that need not wait any more."""
        state = self._state
        had_ended = state.end is not None
        state.on(event, error)
        self.sender.follow_state()
        if state.end is None:
            return
        self.inbox.wake_all()
        wake(self.ended)
        if not had_ended:
            self._tell_stream()
            sender = self.sender
            unfinished = sender.large_messages.unfinished(sender.queue)
            unfinished = unfinished if event in _ORDERLY else 0
            # A peer that refuses a message sends a close frame (SES-37); a killed one not.
            self._log_end(unfinished if event is Event.CLOSE_FRAME else 0)

    def _tell_stream(self) -> None:
        """Tell the stream that the session has ended; it may be told more than once."""
        try:
            self.stream.on_end()
        except Exception as failure:  # noqa: BLE001  # must not stop the rest of the end
            text = f"{self._name}: an exception at the end of the session"
            self.stream.loop.call_exception_handler({"message": text, "exception": failure})

    def _log_end(self, unfinished: int) -> None:
        safely(self._logger.debug, "%s: session ended: %s", self._name, self.end)
        if unfinished:
            safely(
                self._logger.warning,
                "%s: the peer ended the session before it had received the whole of a message"
                " of %d bytes: if its max_message_size is smaller, raise it at both ends",
                self._name,
                unfinished,
            )

    def check_loop(self) -> None:
        """Raise WrongLoopError unless the session's loop is running, or not needed."""
        self.stream.check_loop()
