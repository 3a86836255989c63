"""One connected session over a stream, the same for every transport (spec/session.md)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from ipc_channel.errors import ChannelClosedError, EndReason, IPCChannelError
from ipc_channel.framing import DEFAULT_MAX_MESSAGE_SIZE
from ipc_channel.receiver import Receiver
from ipc_channel.sender import Sender
from ipc_channel.stream import Stream

DEFAULT_LINGER = 1.0
"""Seconds that ``close`` waits for a peer that does not read."""

_QUIET = 0.05  # seconds of silence after which a peer that took all is left alone


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
        self._process = os.getpid()
        self._closed: asyncio.Future[None] | None = None
        self.sender = Sender(stream, max_message_size, self._on_reset)
        self.receiver = Receiver(
            stream, max_message_size, self.sender.begin_turn, self._on_receiver_end
        )
        self.receiver.start()

    @property
    def released(self) -> bool:
        """Whether everything was freed."""
        return self._stream.released

    @property
    def end_reason(self) -> EndReason | None:
        """What ended the session; None while it lives."""
        return self.receiver.end

    @property
    def error(self) -> IPCChannelError | None:
        """The error that ended reading, or else writing; None if none did."""
        return self.receiver.error or self.sender.error

    @property
    def alive(self) -> bool:
        """Whether both directions may still be used."""
        return self.receiver.alive and self.sender.error is None

    @property
    def queued(self) -> int:
        """How many whole messages wait for a reader."""
        return self.receiver.queued

    @property
    def deserted(self) -> bool:
        """Whether the loop was closed under the session, which can only be freed now."""
        return self._stream.loop.is_closed()

    async def close(self, linger: float | None = None) -> None:
        """Send what was written and the close frame, then free everything.

        Gives up ``linger`` seconds after the peer has stopped taking output.
        """
        if self.deserted:
            self.abort()
        self.check_loop()
        if self.released:
            return
        if self._closed is not None:
            await asyncio.shield(self._closed)
            return
        self._closed = self._stream.loop.create_future()
        try:
            await self._finish(self._linger if linger is None else linger)
        finally:
            self.abort()

    def abort(self) -> None:
        """Free everything at once; what the kernel has not taken is lost."""
        if not self.released:
            self._stream.released = True
            if self.sender.queued:
                self._logger.warning(
                    "%s: closed with %d bytes that the peer did not take",
                    self._name,
                    self.sender.queued,
                )
            try:
                self.receiver.stop()
                self.sender.fail(ChannelClosedError("the channel was closed"))
            finally:
                self._stream.close()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def abandon(self) -> None:
        """Abort from wherever the garbage collector runs."""
        if os.getpid() != self._process:
            return  # a forked child shares the loop's selector: hands off
        loop = self._stream.loop
        if loop.is_running():
            loop.call_soon_threadsafe(self.abort)
        else:
            self.abort()

    async def _finish(self, linger: float) -> None:
        # Input is read and dropped from now on: a peer that is itself stuck in a
        # write would never get to read what we have to send.
        drained = self.receiver.discard()
        sent = self.sender.close()
        if await self._wait(sent, linger, lambda: False) and self._stream.finish_writing():
            # Unread input would make the kernel throw away what the peer has not read.
            await self._wait(drained, linger, lambda: self._stream.unsent() == 0)

    async def _wait(
        self, future: asyncio.Future[None], linger: float, enough: Callable[[], bool]
    ) -> bool:
        """Wait for ``future``, or until ``enough`` and the peer is quiet.

        Returns False if the peer does nothing at all for ``linger`` seconds.
        """
        loop = self._stream.loop
        before, since = None, 0.0
        while not future.done():
            taken = self.sender.queued, self._stream.unsent()
            now = taken, self.receiver.discarded
            if before is not None and enough() and now == before:
                break
            if before is None or taken != before[0]:
                since = loop.time()
            if (left := since + linger - loop.time()) <= 0:
                return False
            before = now
            await asyncio.wait({future}, timeout=min(_QUIET, left))
        return True

    def _on_reset(self) -> None:
        self.receiver.was_reset = True

    def _on_receiver_end(self) -> None:
        self._logger.debug("%s: session ended: %s", self._name, self.receiver.end)
        if self.receiver.end is EndReason.RESET and self.receiver.error:
            self.sender.fail(self.receiver.error)
        elif self.receiver.end is EndReason.TOO_LARGE and self.receiver.error:
            self.sender.refuse(self.receiver.error)
        self._stream.on_end()

    def check_loop(self) -> None:
        """Raise WrongLoopError unless the session's loop is the running one, or not needed."""
        self._stream.check_loop()
