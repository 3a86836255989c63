"""The messages that have arrived, and the readers that wait for them.

A reader takes a message off the queue in one step, without waiting in between, so
that a cancelled read can lose nothing (SES-10). In one iteration of the event loop
readers get at most ``TURN`` messages, and as many again if input comes in it: one that
never has to wait would otherwise keep everything else in the loop from running.

The messages of an iteration but the last are taken from an iterator, which pops them off
the queue: nothing is to be counted or decided for them, and a ``for`` statement, unlike a
call, leaves no moment in which an exception of a signal handler could lose one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import repeat
from threading import get_ident

from ipc_channel.aio.stream import Stream
from ipc_channel.aio.waiter import Waiter, deliver, wake
from ipc_channel.protocol.session_state import SessionState

TURN = 512
"""Messages that readers get before the loop goes on to its other work."""

_NOTHING: Iterator[bytes] = iter(())


class Inbox:
    """Hands out ``messages`` until they are read, and then the end that ``state`` has.

    ``on_space`` is called when the last message was taken while reading was paused,
    ``on_rest`` when readers have had their share of this iteration, and
    ``on_interrupt`` with an exception that has cut such a step short.
    """

    def __init__(
        self,
        stream: Stream,
        state: SessionState,
        messages: deque[bytes],
        *,
        on_space: Callable[[], None],
        on_rest: Callable[[], None],
        on_interrupt: Callable[[BaseException], None],
    ) -> None:
        self._stream = stream
        self._state = state
        self._messages = messages
        self._on_space = on_space
        self._on_rest = on_rest
        self._on_interrupt = on_interrupt
        self._readers: deque[Waiter] = deque()
        self._reserved = 0  # messages, the last of the queue, that are for later turns
        self._share: Iterator[bytes] = _NOTHING  # pops those of this turn but the last
        self.buffered = 0
        """Bytes that have arrived since no message was undelivered."""
        self.paused = True
        """Whether the receiver does not read."""

    def read_nowait(self) -> bytes | None:
        """Return the message that waits longest, or None: a coroutine less than to read."""
        stream = self._stream
        if get_ident() != stream.thread or not stream.loop.is_running():
            stream.check_loop()
        for message in self._share:
            return message
        return self._take_last()

    def _take_last(self) -> bytes | None:
        """Return the last message of this turn, and see to what is next; None if it is taken."""
        messages = self._messages
        count = len(messages)
        if count <= self._reserved:
            return None
        message = messages[0]
        try:
            del messages[0]  # unlike a call, nothing that a signal handler comes behind
            if not messages:
                self.buffered = 0
                if self.paused and self._state.end is None:
                    self._on_space()
            elif len(messages) == self._reserved:
                self._on_rest()
        except BaseException as error:
            if len(messages) < count:
                messages.appendleft(message)
            if self.paused and self._state.end is None:
                self._on_interrupt(error)  # the loop may not be able to watch any more
            raise
        return message

    async def read(self) -> bytes | None:
        """Return the next message, None at an orderly end, or raise the error of another."""
        while len(self._messages) <= self._reserved:
            if not self._messages:
                state = self._state
                if state.read_error is not None:
                    raise state.read_error.copy_to_raise()
                if state.end is not None:
                    return None
            waiter: Waiter = asyncio.Future(loop=self._stream.loop)
            try:
                self._readers.append(waiter)
                await waiter
            except BaseException:
                self._leave(waiter)
                raise
        return self.read_nowait()

    def begin_turn(self) -> None:
        """Hand out the next messages of the queue; called last in a callback of the loop."""
        waiting = len(self._messages)
        self._reserved = waiting - TURN if waiting > TURN else 0
        if waiting > 1:
            share = repeat(self._messages, waiting - self._reserved - 1)
            self._share = map(deque.popleft, share)
        self._deliver()

    def end_turn(self) -> None:
        """Let readers take no more of this turn; called before the queue is emptied."""
        self._share = _NOTHING

    def wake_all(self) -> None:
        """Tell every reader that waits of the end."""
        self._wake(len(self._readers))

    def _leave(self, waiter: Waiter) -> None:
        """Let a reader go that is cancelled."""
        with contextlib.suppress(ValueError):
            self._readers.remove(waiter)
        if waiter.done() and not waiter.cancelled():
            # Woken and cancelled at once: the message is another reader's.
            self._wake(len(self._messages))

    def _deliver(self) -> None:
        """Run the reader that waits longest, if there is a message; wake others for more."""
        first = None
        try:
            while self._readers and self._messages:
                first = self._readers[0]
                del self._readers[0]
                if first.done():  # cancelled, and has not gone yet
                    continue
                if len(self._messages) > 1:
                    self._wake(len(self._messages) - 1)
                if deliver(first):
                    return
        except BaseException:  # of the reader's task, or of a signal handler before that
            if not (first is None or first.done() or first in self._readers):
                self._readers.appendleft(first)
            raise

    def _wake(self, wanted: int) -> None:
        """Wake ``wanted`` readers, as far as there are so many."""
        readers = self._readers
        while wanted and readers:
            wanted -= wake(readers[0])
            del readers[0]  # afterwards: one that was woken is passed over from now on
