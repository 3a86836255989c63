"""The messages that have arrived, and the readers that wait for them.

A reader takes a message off the queue in one step, without waiting in between, so
that a cancelled read can lose nothing (SES-10). In one iteration of the event loop
readers get at most ``TURN`` messages, and as many again if input arrives in it: a reader
that never has to wait would otherwise keep the loop from running anything else.

All messages of an iteration except the last come from an iterator that pops them off
the queue. This needs no counting or checks, and a ``for`` statement, unlike a call,
leaves no moment at which an exception from a signal handler could lose a message.
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
"""Messages that readers get in one iteration before the loop does its other work."""

_NOTHING: Iterator[bytes] = iter(())


class Inbox:
    """Delivers ``messages`` to readers, and then the end that ``state`` has.

    ``on_space`` is called when the last message is taken while reading is paused,
    ``on_rest`` when readers have had their share of this iteration, and
    ``on_interrupt`` with an exception that has interrupted such a step.
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
        self.messages = messages
        self._on_space = on_space
        self._on_rest = on_rest
        self._on_interrupt = on_interrupt
        self._readers: deque[Waiter] = deque()
        self._reserved = 0  # messages at the end of the queue, kept for later iterations
        self._share: Iterator[bytes] = _NOTHING  # pops this iteration's, except the last
        self._stopped = False
        self.buffered = 0
        """Bytes that have arrived since the queue was last empty."""
        self.paused = True
        """Whether the receiver does not read."""

    def read_nowait(self) -> bytes | None:
        """Return the oldest message, or None; saves the coroutine that :meth:`read` needs."""
        stream = self._stream
        if get_ident() != stream.thread or not stream.loop.is_running():
            stream.check_loop()
        for message in self._share:
            return message
        return self._take_last()

    def _take_last(self) -> bytes | None:
        """Return the last message of this iteration, or None if it is taken already.

        Resumes reading, or schedules the next iteration.
        """
        messages = self.messages
        count = len(messages)
        if count <= self._reserved:
            return None
        message = messages[0]
        try:
            del messages[0]  # unlike after a call, no signal handler runs behind this
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
                self._on_interrupt(error)  # the loop may be unable to watch the stream now
            raise
        return message

    async def read(self) -> bytes | None:
        """Return the next message, or None at an orderly end; raise at any other end.

        Whoever reads often asks :meth:`read_nowait` first if there are ``messages``.
        """
        stream = self._stream
        if get_ident() != stream.thread or not stream.loop.is_running():
            stream.check_loop()
        while len(self.messages) <= self._reserved:
            if self.is_over():
                return None
            waiter: Waiter = asyncio.Future(loop=stream.loop)
            try:
                self._readers.append(waiter)
                await waiter
            except BaseException:
                self._leave(waiter)
                raise
        return self.read_nowait()

    def is_over(self) -> bool:
        """Whether readers have reached an orderly end; raises at any other end."""
        if self.messages:
            return False
        if self._state.read_error is not None:
            raise self._state.read_error.copy_to_raise()
        return self._stopped or self._state.end is not None

    def put_back(self, message: bytes) -> None:
        """Make ``message``, which was just taken, the next one again."""
        self.messages.appendleft(message)

    def begin_turn(self) -> None:
        """Deliver the next messages; must be the last call in a callback of the loop."""
        waiting = len(self.messages)
        self._reserved = waiting - TURN if waiting > TURN else 0
        if waiting > 1:
            share = repeat(self.messages, waiting - self._reserved - 1)
            self._share = map(deque.popleft, share)
        self._deliver()

    def end_turn(self) -> None:
        """Stop readers from taking this iteration's messages: the queue is to be emptied."""
        self._share = _NOTHING

    def stop_delivering(self) -> None:
        """Make readers find an orderly end, although the session goes on."""
        self._stopped = True
        self.wake_all()

    def wake_all(self) -> None:
        """Wake every waiting reader, which then finds the end."""
        self._wake(len(self._readers))

    def _leave(self, waiter: Waiter) -> None:
        """Remove a reader that is cancelled."""
        with contextlib.suppress(ValueError):
            self._readers.remove(waiter)
        if waiter.done() and not waiter.cancelled():
            # Woken and cancelled in the same iteration: another reader gets the message.
            self._wake(len(self.messages))

    def _deliver(self) -> None:
        """Run the reader that has waited longest if there is a message; wake others."""
        first = None
        try:
            while self._readers and self.messages:
                first = self._readers[0]
                del self._readers[0]
                if first.done():  # cancelled, but not removed yet
                    continue
                if len(self.messages) > 1:
                    self._wake(len(self.messages) - 1)
                if deliver(first):
                    return
        except BaseException:  # from the reader's task, or a signal handler before it
            if not (first is None or first.done() or first in self._readers):
                self._readers.appendleft(first)
            raise

    def _wake(self, wanted: int) -> None:
        """Wake up to ``wanted`` readers."""
        readers = self._readers
        while wanted and readers:
            wanted -= wake(readers[0])
            del readers[0]  # last: a reader that has been woken is skipped from now on
