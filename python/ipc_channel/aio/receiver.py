"""The reading half of a session (spec/session.md, "Reading").

Input is read as soon as it is ready and decoded into whole messages, whether or not a
reader waits for one; so the end is detected at once. While more than ``READ_AHEAD``
bytes are undelivered, reading pauses until all are delivered: that is backpressure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

from ipc_channel.aio.inbox import Inbox
from ipc_channel.aio.stream import Stream
from ipc_channel.aio.waiter import NextTurn, Waiter, wake
from ipc_channel.errors import EndReason, IPCChannelError, ResetError
from ipc_channel.protocol.framing import Decoder
from ipc_channel.protocol.session_state import Event, SessionState

READ_AHEAD = 256 * 2**10
"""Bytes received since all was delivered, above which reading pauses."""
MESSAGES_AHEAD = 4096
"""Undelivered messages above which reading pauses: tiny messages take memory too."""

_CHUNK = 68 * 2**10  # bytes of one read: a message of 64 KiB with its header
# Size of the next read if the last one filled its chunk, and no larger message has
# begun: a larger chunk splits fewer messages. Not for every read: for small messages its
# memory would come from the kernel each time, and a large message would be copied.
_LARGE_CHUNK = 256 * 2**10
_EVENTS = {
    EndReason.CLEAN: Event.CLOSE_FRAME,
    EndReason.EOF: Event.END_AT_BOUNDARY,
    EndReason.TRUNCATED: Event.END_INSIDE_FRAME,
    EndReason.RESET: Event.RESET_ON_READ,
    EndReason.TOO_LARGE: Event.OVER_LIMIT,
}
_READS = 16  # at a time, so that a fast writer does not block the loop


@cache
def _keep_memory() -> None:
    """Make the C library keep the freed memory of a few messages and reads.

    glibc returns free memory at the top of its heap to the kernel from 128 KiB on, and
    then gets it back page by page, which takes longer than copying a message of 64 KiB.
    Once a larger block has been freed, it does so only from twice the size of that block.
    """
    bytes(2 * _LARGE_CHUNK)  # whose pages, unlike those of a bytearray, are never touched


class Receiver:
    """Reads ``stream`` into the messages of ``decoder``, from :meth:`start` to the end.

    ``on_input`` is called in each loop iteration with input, ``on_end`` with the event
    that has ended the stream, and ``on_interrupt`` with an exception that was raised
    during a read, by a signal handler for instance: bytes may be lost then.
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
        self.discarded = 0  # bytes read and dropped since :meth:`discard`
        self.received = 0  # bytes that have arrived, but for those of :meth:`read_one`
        self.arrival: Waiter | None = None  # to wake when more arrive
        self.on_far_ahead: Callable[[], None] = lambda: None  # readers are slow, or gone
        self._stream = stream
        self._on_input = on_input
        self._on_end = on_end
        self._on_interrupt = on_interrupt
        self._reset_hint = reset_hint
        self.decoder = decoder
        self.state = state
        self._messages = decoder.messages
        self._next_turn = NextTurn(stream.loop, self._on_next_turn)
        self.inbox = Inbox(
            *(stream, state, decoder.messages),
            on_space=self._resume,
            on_rest=self._next_turn.ask,
            on_interrupt=on_interrupt,
        )
        self._again = False  # whether to read more in the next loop iteration
        self._drained: asyncio.Future[None] | None = None
        self._chunk = _CHUNK  # bytes of the next read

    @property
    def alive(self) -> bool:
        """Whether more may arrive; while reading is paused, the stream tells."""
        return self.state.end is None and (self.reading or not self._stream.ended())

    @property
    def reading(self) -> bool:
        """Whether the loop watches for input."""
        return not self.inbox.paused

    @property
    def queued(self) -> int:
        """Number of whole messages that wait for a reader."""
        return len(self._messages)

    def start(self) -> None:
        """Decode the initial data, and begin to read."""
        self._resume()
        self.decoder.feed(self._stream.initial_data)
        self._on_bytes(len(self._stream.initial_data))
        self.inbox.begin_turn()

    def discard(self) -> asyncio.Future[None]:
        """After our own close, read and drop all input; done at the end of the stream."""
        drained: asyncio.Future[None] = self._stream.loop.create_future()
        self._drop_all()
        self._drained = drained
        try:
            self._resume()  # reads the end again if it was read before
        except OSError:  # a signal handler has raised while the loop stopped watching
            wake(drained)
        return drained

    def stop_delivering(self) -> None:
        """Read nothing more until :meth:`discard`; readers get None."""
        self.pause()
        self._drop_all()
        self.inbox.stop_delivering()

    def forget(self) -> None:
        """Drop everything and stop reading; the stream is about to be closed."""
        self.inbox.paused = True
        self._drop_all()

    def _drop_all(self) -> None:
        self.inbox.end_turn()
        self.decoder.forget()

    def stop(self) -> None:
        """Stop reading, since bytes may be lost; messages that arrived whole stay."""
        if self._drained is not None:
            wake(self._drained)
        self.inbox.paused = True
        self._stream.stop_reading()

    def _resume(self) -> None:
        if self.inbox.paused:
            self._stream.start_reading(self.on_readable)
            self.inbox.paused = False
            # Within uvloop's callback for an error, watching again has no effect.
            self._read_on_later()

    def pause(self) -> None:
        if not self.inbox.paused:
            self.inbox.paused = True
            self._stream.stop_reading()

    def on_readable(self) -> None:
        """Read what is available, up to ``_READS`` times, and deliver it."""
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
        except BaseException:  # from a reader's task, or a signal handler
            self._next_turn.ask()
            raise

    def read_one(self) -> bytes | None:
        """Read once, for a thread that waits for one message; more is left for later.

        Returns the message if exactly one frame came; all else takes the usual way.
        """
        decoder = self.decoder
        if self._messages or decoder.payload or decoder.head or self.inbox.paused:
            return None
        if self._drained is not None:
            return None  # all input is dropped
        try:
            data = self._stream.read(_CHUNK)
            message = decoder.only_message(data)
            if message is not None:
                return message
            decoder.feed(data)
            self._on_read(len(data))
            self.inbox.begin_turn()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._on_error(error)
        except BaseException as error:
            self._on_interrupt(error)
            raise
        return None

    def _on_next_turn(self) -> None:
        again, self._again = self._again, False
        try:
            if again and self.reading:
                self.on_readable()
            else:
                self.inbox.begin_turn()
        except BaseException:  # NextTurn calls this again in the next iteration
            self._again = again
            raise

    def _read_on_later(self) -> None:
        if not (self._stream.level_triggered or self._again):
            # Not by watching again: uvloop stops watching a descriptor after an error.
            self._again = True
            self._next_turn.ask()

    def _read_once(self) -> bool:
        """Read once; return whether to continue, since more may be available."""
        try:
            count, wanted = self._read_some()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._on_error(error)
            return False
        self._on_read(count)
        return not self.inbox.paused and (
            count == wanted or not self._stream.level_triggered
        )

    def _on_read(self, count: int) -> None:
        if count:
            self._on_bytes(count)
        else:
            self.decoder.feed_eof()
            self._on_stream_end()

    def _read_some(self) -> tuple[int, int]:
        """Read once: a large payload straight into its buffer, all else in chunks.

        Returns the number of bytes read, and the number requested.
        """
        decoder = self.decoder
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
        self.received += count
        if self.arrival is not None:
            wake(self.arrival)
        if self.decoder.end is not None:
            self.pause()
            self._on_end(_EVENTS[self.decoder.end], self.decoder.error)
        elif self.inbox.buffered > MESSAGES_AHEAD and self._is_far_ahead():
            self.pause()
            self.on_far_ahead()

    def _is_far_ahead(self) -> bool:
        count = len(self._messages)
        return count > MESSAGES_AHEAD or (count > 0 and self.inbox.buffered > READ_AHEAD)

    def _on_error(self, cause: OSError) -> None:
        if self.decoder.end is None:
            error = ResetError(f"connection reset: {cause}{self._reset_hint()}")
            # A traceback would keep frames alive, and with them a view of the payload.
            error.__cause__ = cause.with_traceback(None)
            self.decoder.stop(EndReason.RESET, error)
        self._on_stream_end()

    def _on_stream_end(self) -> None:
        self.pause()
        if self._drained is not None:
            wake(self._drained)
        elif self.decoder.end is not None:
            self._on_end(_EVENTS[self.decoder.end], self.decoder.error)
