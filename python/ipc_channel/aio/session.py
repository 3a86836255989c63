"""One connected session over a stream, the same for every transport (spec/session.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ipc_channel.aio.receiver import Receiver
from ipc_channel.aio.sender import Sender
from ipc_channel.aio.stream import Stream
from ipc_channel.aio.waiter import wake
from ipc_channel.errors import (
    EndReason,
    IPCChannelError,
    ResetError,
    SessionInterruptedError,
    ended_here,
)
from ipc_channel.log import safely
from ipc_channel.options import DEFAULT_LINGER
from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE, Decoder
from ipc_channel.protocol.session_state import Event, Phase, SessionState

_ORDERLY = (Event.CLOSE_FRAME, Event.END_AT_BOUNDARY, Event.END_INSIDE_FRAME)
QUIET = 0.05  # seconds of silence after which a peer that took all is left alone


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
        self._stream = stream
        self._name = name
        self._linger = linger
        self._logger = logger
        self._closing: asyncio.Task[Any] | None = None  # runs the first close
        self._closed: asyncio.Future[None] = stream.loop.create_future()
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
        if stream.was_reset:
            error = ResetError("connection reset as soon as it was made")
            self._on_event(Event.RESET_ON_WRITE, error)
        self.receiver.start()

    @property
    def closed(self) -> bool:
        """Whether everything was freed."""
        return self._stream.closed

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
        """How many whole messages wait for a reader."""
        return self.receiver.queued

    @property
    def loop_closed(self) -> bool:
        """Whether the loop was closed under the session, which can only be freed now."""
        return self._stream.loop.is_closed()

    async def close(self, linger: float | None = None) -> None:
        """Send what was written and the close frame, then free everything.

        Gives up ``linger`` seconds after the peer has stopped taking output.
        """
        if not self._stream.process.runs:
            return  # a forked child holds nothing
        if self.loop_closed:
            self.abort()
        self.check_loop()
        if self.closed:
            return
        first, this = self._closing, asyncio.current_task()
        if first is not None and first is not this:
            await asyncio.wait({self._closed, first}, return_when=asyncio.FIRST_COMPLETED)
            self.abort()  # does nothing, unless an exception has kept the first from it
            return
        self._closing = this
        try:
            if first is None:
                self._on_own_close()
                await self.finish(self._linger if linger is None else linger)
        finally:
            self.abort()

    def abort(self) -> None:
        """Free everything at once; what the kernel has not taken is lost.

        An exception in between, of a signal handler, leaves the rest to the next call.
        """
        if self.closed:
            return
        lost = self.sender.queued
        try:
            self._on_own_close()
            self.receiver.forget()
            self.sender.drop()
        finally:
            self._stream.close()
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
        """Abort from wherever the garbage collector runs."""
        if not self._stream.process.runs:
            return  # a forked child shares the loop's selector: hands off
        loop = self._stream.loop
        if loop.is_running():
            loop.call_soon_threadsafe(self.abort)
        else:
            self.abort()

    async def finish(self, linger: float) -> None:
        """Send what is left and the close frame, and wait until the peer may have it all."""
        # Input is read and dropped from now on: a peer that is itself stuck in a
        # write would never get to read what we have to send.
        drained = self.receiver.discard()
        sent = self.sender.close()
        if not await self.wait(sent, linger, lambda: False) or self.closed:
            return  # an abort may have come meanwhile
        if self._stream.finish_writing():
            # Unread input would make the kernel throw away what the peer has not read.
            await self.wait(drained, linger, self._stream.delivered)

    async def wait(
        self, future: asyncio.Future[None], linger: float, enough: Callable[[], bool]
    ) -> bool:
        """Wait for ``future``, or until ``enough`` and the peer is quiet.

        Returns False if the peer does nothing at all for ``linger`` seconds.
        """
        loop = self._stream.loop
        before, since = None, 0.0
        while not (future.done() or self.closed):
            taken = self.sender.queued, self._stream.unsent()
            now = taken, self.receiver.discarded
            if before is not None and enough() and now == before:
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
        """Give up: it is unknown which bytes the kernel has taken, or handed out."""
        error = SessionInterruptedError(
            f"{type(cause).__name__} was raised while messages were on their way, so that"
            " nobody knows which have passed whole; the session is over: connect again"
        )
        self._state.on(Event.INTERRUPTION, error)
        self.sender.follow_state()
        self.inbox.wake_all()
        self.receiver.stop()
        self._tell_stream()

    def _on_event(self, event: Event, error: IPCChannelError | None = None) -> None:
        """Follow the table of states, and let those go whose wait is over."""
        state = self._state
        had_ended = state.end is not None
        state.on(event, error)
        self.sender.follow_state()
        if state.end is None:
            return
        self.inbox.wake_all()
        if not had_ended:
            self._tell_stream()
            unfinished = self.sender.on_peer_end() if event in _ORDERLY else 0
            # A peer that refuses a message closes (SES-37); one that was killed does not.
            self._log_end(unfinished if event is Event.CLOSE_FRAME else 0)

    def _tell_stream(self) -> None:
        """Tell the stream of the end, which may be told more than once."""
        try:
            self._stream.on_end()
        except Exception as failure:  # noqa: BLE001  # which must not end more than it did
            text = f"{self._name}: an exception at the end of the session"
            self._stream.loop.call_exception_handler(
                {"message": text, "exception": failure}
            )

    def _log_end(self, unfinished: int) -> None:
        safely(self._logger.debug, "%s: session ended: %s", self._name, self.end)
        if unfinished:
            safely(
                self._logger.warning,
                "%s: the peer ended the session while a message of %d bytes was on its way"
                " to it: if its max_message_size is smaller, raise it at both ends",
                self._name,
                unfinished,
            )

    def check_loop(self) -> None:
        """Raise WrongLoopError unless the session's loop is the running one, or not needed."""
        self._stream.check_loop()
