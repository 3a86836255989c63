"""Requests and answers over a session: who reads, and what is sent (spec/requests.md).

There is no task that reads. Of those that wait, one is the *reader*: it reads, and hands
each answer to the call that it belongs to. When its own answer has come, another one reads:
whoever serves, or else the newest call, as that will probably wait longest. So a call that
is alone costs what a write and a read cost, and many calls cost one wake-up each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from itertools import chain
from typing import TYPE_CHECKING, Any

from ipc_channel.aio.handling import Handling, send_soon
from ipc_channel.aio.session import Session
from ipc_channel.aio.waiter import Waiter, wake
from ipc_channel.errors import BadMessageError, IPCChannelError, PeerError, RequestError
from ipc_channel.protocol.exchange import EarlyRequests, Exchange, not_sent, unserved
from ipc_channel.protocol.request_messages import check_limit, encode_cancel, encode_error

if TYPE_CHECKING:
    from typing_extensions import Buffer


def claim(session: Session) -> None:
    """Have all messages of a session belong to one RequestChannel; raise if that cannot be."""
    check_limit(session.sender.max_message_size)
    if session.has_requests:
        raise RuntimeError(
            "this session has a RequestChannel already: use that one, for calls and to serve"
        )
    session.has_requests = True


class Turn:
    """Somebody who waits for something to be read, and reads if nobody else does."""

    __slots__ = ("done", "waiter")

    def __init__(self) -> None:
        self.done = False
        self.waiter: Waiter | None = None

    def finish(self) -> None:
        self.done = True
        if self.waiter is not None:
            wake(self.waiter)


class Call(Turn):
    """A request of this end, until it is answered."""

    __slots__ = ("answer", "cancelled_at", "error", "sent", "writing")

    def __init__(self) -> None:
        self.done = False
        self.waiter = None
        self.answer = b""
        self.error: IPCChannelError | None = None
        self.sent = False  # in full or in part
        self.writing: asyncio.Task[None] | None = None
        self.cancelled_at: float | None = None  # of the loop's clock

    def give(self, answer: bytes = b"", error: IPCChannelError | None = None) -> None:
        self.answer, self.error, self.done = answer, error, True
        if self.waiter is not None:
            wake(self.waiter)


class RequestLine(Exchange[Call]):
    """The requests of both ends of a session; at most ``max_open`` of this end are open."""

    def __init__(self, session: Session, max_open: int, *, serves: bool) -> None:
        super().__init__(session.sender.max_message_size)
        self.sender = session.sender
        self.handling: Handling | EarlyRequests | None = None
        """What answers the requests of the other end."""
        self._session = session
        self._loop = session.stream.loop
        self._max_open = max_open
        self._queue: deque[Waiter] = deque()  # calls that wait until one is answered
        self._admitted: set[Waiter] = set()  # and those whose turn has come; not open yet
        self._reader: Turn | None = None  # whose turn it is to read
        self._listeners: list[Turn] = []  # those who want to read for as long as it goes
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: Waiter = self._loop.create_future()  # a write has, and reading ends
        if serves:
            self.handling = EarlyRequests(max_open, self._refuse)

    async def wait_ended(self) -> None:
        """Wait until the session has ended, and every call with it."""
        either = {self._session.ended, self._failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        await self.listen()

    async def listen(self) -> None:
        """Read until the session has ended."""
        turn = Turn()
        self._listeners.append(turn)
        try:
            await self._wait(turn)
        finally:
            self._listeners.remove(turn)
            self._leave(turn)

    async def call(self, payload: Buffer, call: Call) -> bytes:
        """Send a request, and return the answer, or raise the error."""
        if len(self.open) + len(self._admitted) >= self._max_open:
            await self._wait_for_room()
        try:
            number = self._send(payload, call)
        except BaseException:
            self.on_room()  # for the next one, as this one does not need it
            raise
        try:
            if self._reader is None:
                self._reader = call
                await self._read(call)
            else:
                await self._wait(call)
        except BaseException:
            if not call.done:
                self._drop(number, call)
            raise
        finally:
            if self._reader is call:
                self._leave(call)
        if call.error is not None:
            raise call.error.copy_to_raise()
        return call.answer

    async def _wait_for_room(self) -> None:
        """Wait, in the order of the calls, until this one may open a request."""
        waiter: Waiter = self._loop.create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter in self._admitted:
                self._admitted.remove(waiter)
                self.on_room()  # for the next one
            elif waiter in self._queue:
                self._queue.remove(waiter)
            raise
        self._admitted.remove(waiter)

    def _send(self, payload: Buffer, call: Call) -> int:
        """Begin to send a request, and return its id."""
        try:
            number, message = self.new_request(payload)
            writing = self.sender.write(message)
        except PeerError as error:
            if self.end is not None:
                raise not_sent(error) from error.__cause__
            self._on_failed_write(error)
            reason = self._session.end_reason
            raise not_sent(self.failure(None, reason, sent=False)) from error
        self.open[number] = call
        call.sent = True
        if writing is not None:
            # In a task: a write that is cancelled does not tell whether it was sent.
            call.writing = self._in_background(self._write(writing))
        return number

    async def _write(self, writing: Coroutine[None, None, None]) -> None:
        try:
            await writing
        except PeerError as error:
            self._on_failed_write(error)
        except IPCChannelError:
            pass  # this end has closed, as the reader finds

    def _on_failed_write(self, error: PeerError) -> None:
        """End it all once what has arrived is read: the other end does not read any more."""
        self.write_error = error
        self._session.stop_delivering()
        wake(self._failed)

    async def _wait(self, turn: Turn) -> None:
        """Wait until ``turn`` is done or the session has ended; read if nobody else does."""
        while not turn.done and self.end is None:
            if self._reader is None:
                self._reader = turn
            if self._reader is turn:
                await self._read(turn)
            else:
                turn.waiter = self._loop.create_future()
                await turn.waiter

    def _leave(self, turn: Turn) -> None:
        """Wait no more; if ``turn`` is the reader, have another one read."""
        turn.waiter = None
        if self._reader is not turn:
            return
        self._reader = None
        if not self._listeners and not self.open:
            return
        if (other := self._next_reader()) is not None:
            self._reader = other
            assert other.waiter is not None
            wake(other.waiter)
        elif self.open and self.end is None:
            self._reader = Turn()
            self._in_background(self._read_alone(self._reader))

    def _next_reader(self) -> Turn | None:
        for turn in chain(self._listeners, reversed(self.open.values())):
            if turn.waiter is not None and not turn.waiter.done():
                return turn
        return None

    async def _read_alone(self, turn: Turn) -> None:
        """Read for requests that were cancelled, until they are answered or a call waits."""
        try:
            while self.open and self.end is None and self._next_reader() is None:
                await self._read(turn, once=True)
        finally:
            self._leave(turn)

    def _drop(self, number: int, call: Call) -> None:
        """Cancel a request; it stays open until it is answered."""
        call.waiter = None
        call.cancelled_at = self._loop.time()
        if call.writing is None or call.writing.done():
            self._cancel(number)
        else:
            call.writing.add_done_callback(lambda _: self._cancel(number))

    def _cancel(self, number: int) -> None:
        if number in self.open:
            self._send_soon(encode_cancel(number))

    def _refuse(self, number: int, error: RequestError) -> None:
        self._send_soon(encode_error(number, error, self.limit))

    def _send_soon(self, message: bytes) -> None:
        send_soon(self.sender, message, self._tasks)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _read(self, turn: Turn, *, once: bool = False) -> None:
        """Read, and deal with what comes, until ``turn`` is done or the session has ended."""
        inbox = self._session.inbox
        try:
            while self.end is None and not turn.done:
                message = (inbox.messages and inbox.read_nowait()) or await inbox.read()
                if message is None:
                    self._on_end(None)
                else:
                    self.on_message(message)
                if once:
                    break
        except IPCChannelError as error:
            self._on_end(error)

    def on_room(self) -> None:
        while self._queue:
            # Its place is taken from now on, or calls that need not wait would be faster.
            waiter = self._queue[0]
            self._admitted.add(waiter)
            del self._queue[0]
            if wake(waiter):
                return
            self._admitted.discard(waiter)

    def has_request(self, number: int) -> bool:
        return self.handling is not None and self.handling.has(number)

    def on_request(self, number: int, payload: bytes) -> None:
        if self.handling is None:
            self._refuse(number, unserved())
        else:
            self.handling.begin(number, payload)

    def on_cancel(self, number: int) -> None:
        if self.handling is not None:
            self.handling.cancel(number)

    def _on_end(self, error: IPCChannelError | None) -> None:
        """Fail all calls: the session has ended, with ``error`` if it was not orderly."""
        if self.end is not None:
            return
        self.fail_calls(error, self._session.end_reason)
        for turn in self._listeners:
            turn.finish()
        if isinstance(error, BadMessageError):
            self._in_background(self._session.close())
