"""The reading half of a session (spec/session.md, "Reading").

Whatever is ready is read at once and decoded into whole messages, whether or not a
reader waits for one; so the end is noticed as it comes. Once more than ``READ_AHEAD``
is undelivered nothing is read until all is delivered, and the peer's writes wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

from ipc_channel.aio.inbox import Inbox
from ipc_channel.aio.stream import Stream
from ipc_channel.aio.waiter import NextTurn, wake
from ipc_channel.errors import EndReason, IPCChannelError, ResetError
from ipc_channel.protocol.framing import Decoder
from ipc_channel.protocol.session_state import Event, SessionState

READ_AHEAD = 256 * 2**10
"""Bytes since all was delivered above which nothing more is read."""
MESSAGES_AHEAD = 4096
"""Undelivered messages above which nothing more is read: tiny ones take memory as well."""

_CHUNK = 68 * 2**10  # bytes of one read: a message of 64 KiB with its header
# Bytes of the next one if there was so much, but no larger message: fewer are cut. Not
# always, since the memory for it would come from the kernel anew for each small message,
# and what is read of a large one would be copied.
_LARGE_CHUNK = 256 * 2**10
_EVENTS = {
    EndReason.CLEAN: Event.CLOSE_FRAME,
    EndReason.EOF: Event.END_AT_BOUNDARY,
    EndReason.TRUNCATED: Event.END_INSIDE_FRAME,
    EndReason.RESET: Event.RESET_ON_READ,
    EndReason.TOO_LARGE: Event.OVER_LIMIT,
}
_READS = 16  # at a time, so that a fast writer does not hold up the loop


@cache
def _keep_memory() -> None:
    """Have the process keep the memory of a few messages and reads, once they are freed.

    glibc gives what is free at the top of its heap back from 128 KiB on, and gets it
    again page by page, which takes longer than to copy a message of 64 KiB; but from
    twice the size on of a larger block that was freed before.
    """
    bytearray(2 * _LARGE_CHUNK)


class Receiver:
    """Reads ``stream`` into the messages of ``decoder``, from :meth:`start` to the end.

    ``on_input`` is called in each loop turn that brings input, ``on_end`` with what
    has ended the stream, and ``on_interrupt`` with an exception that a signal
    handler, say, has raised while bytes were on their way: some may be gone.
    ``reset_hint`` returns what to add to the error of a reset.
    """

    def __init__(
        self,
        stream: Stream,
        decoder: Decoder,
        state: SessionState,
        *,
        on_input: Callable[[], None],
        on_end: Callable[[Event, IPCChannelError | None], None],
        on_interrupt: Callable[[BaseException], None],
        reset_hint: Callable[[], str],
    ) -> None:
        _keep_memory()
        self.discarded = 0
        """Bytes that were read and dropped since :meth:`discard`."""
        self._stream = stream
        self._on_input = on_input
        self._on_end = on_end
        self._on_interrupt = on_interrupt
        self._reset_hint = reset_hint
        self._decoder = decoder
        self._state = state
        self._messages = decoder.messages
        self._next_turn = NextTurn(stream.loop, self._on_next_turn)
        self.inbox = Inbox(
            stream,
            state,
            decoder.messages,
            on_space=self._resume,
            on_rest=self._next_turn.ask,
            on_interrupt=on_interrupt,
        )
        self._again = False  # whether more is to be read in the next turn
        self._drained: asyncio.Future[None] | None = None
        self._chunk = _CHUNK  # bytes of the next read

    @property
    def alive(self) -> bool:
        """Whether more may come; asks the stream while nothing is read from it."""
        return self._state.end is None and (self.reading or not self._stream.ended())

    @property
    def reading(self) -> bool:
        """Whether the loop watches for input."""
        return not self.inbox.paused

    @property
    def queued(self) -> int:
        """How many whole messages wait for a reader."""
        return len(self._messages)

    def start(self) -> None:
        """Take what was read on the way to the connection, and begin to read."""
        self._resume()
        self._decoder.feed(self._stream.initial_data)
        self._on_bytes(len(self._stream.initial_data))
        self.inbox.begin_turn()

    def discard(self) -> asyncio.Future[None]:
        """After the own close, read on and drop it all; done at the end of the stream."""
        drained: asyncio.Future[None] = self._stream.loop.create_future()
        self._drop_all()
        self._drained = drained
        try:
            self._resume()  # finds the end again if it was there already
        except OSError:  # an exception has cut the loop short as it was to stop watching
            wake(drained)
        return drained

    def forget(self) -> None:
        """Drop everything, and read no more; the stream is about to be closed."""
        self.inbox.paused = True
        self._drop_all()

    def _drop_all(self) -> None:
        self.inbox.end_turn()
        self._decoder.forget()

    def stop(self) -> None:
        """Read no more, since bytes may be gone; what arrived whole is delivered."""
        if self._drained is not None:
            wake(self._drained)
        self.inbox.paused = True
        self._stream.stop_reading()

    def _resume(self) -> None:
        if self.inbox.paused:
            self._stream.start_reading(self._on_readable)
            self.inbox.paused = False
            # Within a callback of uvloop that was for an error, watching anew is in vain.
            self._read_on_later()

    def _pause(self) -> None:
        if not self.inbox.paused:
            self.inbox.paused = True
            self._stream.stop_reading()

    def _on_readable(self) -> None:
        """Read what there is, up to ``_READS`` times, and hand it out."""
        try:
            self._on_input()
            for _ in range(_READS):
                if not self._read_once():
                    break
            else:
                self._read_on_later()
        except BaseException as error:
            self._on_interrupt(error)
            raise
        try:
            self.inbox.begin_turn()
        except BaseException:  # of a reader's task, or of a signal handler
            self._next_turn.ask()
            raise

    def _on_next_turn(self) -> None:
        again, self._again = self._again, False
        try:
            if again and self.reading:
                self._on_readable()
            else:
                self.inbox.begin_turn()
        except BaseException:  # and the next turn comes once more
            self._again = again
            raise

    def _read_on_later(self) -> None:
        if not (self._stream.level_triggered or self._again):
            # Not by watching anew: uvloop gives up a descriptor that had an error.
            self._again = True
            self._next_turn.ask()

    def _read_once(self) -> bool:
        """Read what is there; return whether to go on, since there may be more."""
        try:
            count, wanted = self._read_some()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._on_error(error)
            return False
        if count:
            self._on_bytes(count)
        else:
            self._decoder.feed_eof()
            self._on_stream_end()
        return not self.inbox.paused and (
            count == wanted or not self._stream.level_triggered
        )

    def _read_some(self) -> tuple[int, int]:
        """Read once: a large payload straight to its place, all else in chunks.

        Returns how many bytes were read, and how many there was room for.
        """
        decoder = self._decoder
        payload = decoder.payload
        if payload is None or len(payload.room) < _CHUNK:
            wanted = self._chunk
            data = self._stream.read(wanted)
            if self._drained is None:
                decoder.feed(data)
            begun = 0 if decoder.payload is None else decoder.payload.size
            more = len(data) >= _CHUNK and begun < _LARGE_CHUNK
            tiny = more and len(self._messages) > MESSAGES_AHEAD
            self._chunk = _LARGE_CHUNK if more and not tiny else _CHUNK
            return len(data), wanted
        wanted = len(payload.room)
        count = self._stream.read_into(payload.room)
        decoder.filled(count)
        return count, wanted

    def _on_bytes(self, count: int) -> None:
        if self._drained is not None:
            self.discarded += count
            return
        self.inbox.buffered += count
        if self._decoder.end is not None:
            self._pause()
            self._tell_end(self._decoder.end)
        elif self.inbox.buffered > MESSAGES_AHEAD and self._is_far_ahead():
            self._pause()

    def _is_far_ahead(self) -> bool:
        count = len(self._messages)
        return count > MESSAGES_AHEAD or (count > 0 and self.inbox.buffered > READ_AHEAD)

    def _on_error(self, cause: OSError) -> None:
        if self._decoder.end is None:
            error = ResetError(f"connection reset: {cause}{self._reset_hint()}")
            # Its traceback would keep the frames, and with them a view on the payload.
            error.__cause__ = cause.with_traceback(None)
            self._decoder.stop(EndReason.RESET, error)
        self._on_stream_end()

    def _on_stream_end(self) -> None:
        self._pause()
        if self._drained is not None:
            wake(self._drained)
        elif self._decoder.end is not None:
            self._tell_end(self._decoder.end)

    def _tell_end(self, end: EndReason) -> None:
        self._on_end(_EVENTS[end], self._decoder.error)
