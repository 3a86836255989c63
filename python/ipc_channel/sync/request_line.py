"""Requests and answers over a blocking session: which thread reads (spec/requests.md).

No thread is made to read. Of the threads that wait, one is the *reader*: it reads, and
hands what comes to the thread that it is for. When it has got what it waits for itself,
another one reads. A thread that has to write reads as well, if the other end does not take
what it writes: so two ends that write at once cannot wait for each other for ever.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from ipc_channel.aio.session import Session
from ipc_channel.errors import (
    BadMessageError,
    CallTimeoutError,
    IPCChannelError,
    PeerError,
    RequestError,
    UnfinishedWriteError,
)
from ipc_channel.protocol.exchange import EarlyRequests, Exchange, unserved
from ipc_channel.protocol.request_messages import encode_cancel, encode_error
from ipc_channel.sync.channel import IPCChannelClient
from ipc_channel.sync.driver import Driver
from ipc_channel.sync.request_turn import Call, Turn
from ipc_channel.sync.writing import write, write_at_once

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ipc_channel.sync.request_handling import Handling

_SLICE = 0.05  # seconds that a thread writes or waits for room before it looks for input


class RequestLine(Exchange[Call]):
    """The requests of both ends of a session; at most ``max_open`` of this end are open."""

    def __init__(
        self,
        channel: IPCChannelClient,
        driver: Driver,
        session: Session,
        max_open: int,
        *,
        serves: bool,
    ) -> None:
        super().__init__(session.sender.max_message_size)
        self.clock = driver.loop.time
        """What deadlines are measured by, in seconds."""
        self.lock = threading.RLock()
        """For all that is here, in Exchange and in Handling."""
        self.handling: Handling | EarlyRequests | None = None
        """What answers the requests of the other end."""
        self._channel = channel
        self._driver = driver
        self._session = session
        self._max_open = max_open
        self._room = threading.Condition(self.lock)
        self._reader: Turn | None = None
        self._unsent: deque[bytes] = deque()  # for which nobody waits
        if serves:
            self.handling = EarlyRequests(max_open, self.refuse)

    def call(self, payload: Buffer, deadline: float | None, call: Call) -> bytes:
        """Send a request, and return the answer; ``deadline`` is one of ``clock``."""
        with self.lock:
            if len(self.open) >= self._max_open:
                self._wait_for_room(deadline)
            number, message = self.new_request(payload)
            self.open[number] = call
        try:
            self._send_request(call, message, deadline)
            self.wait(call, deadline)
        except BaseException:
            self._drop(number, call)
            raise
        finally:
            self.leave(call)
        if call.error is not None:
            raise call.error.copy_to_raise()
        return call.answer

    def _wait_for_room(self, deadline: float | None) -> None:
        """Wait, with the lock, until fewer requests are open than may be."""
        while self.end is None and len(self.open) >= self._max_open:
            if self._left(deadline) <= 0:
                raise CallTimeoutError
            self.look()  # if all open requests were cancelled, nobody else reads
            if len(self.open) >= self._max_open:
                self._room.wait(min(self._left(deadline), _SLICE))

    def _send_request(self, call: Call, message: bytes, deadline: float | None) -> None:
        try:
            self.write(message, deadline, call)
        except PeerError as error:
            with self.lock:
                self.write_error = self.write_error or error
            self._driver.call(self._session.stop_delivering)  # as the reader finds
        except IPCChannelError:
            with self.lock:
                if self.end is not None:
                    return  # another thread has found the end, and failed this call
                call.unsent = True
            raise

    def wait(self, turn: Turn, deadline: float | None) -> None:
        """Wait until ``turn`` is done or the session has ended; read if nobody else does."""
        while True:
            with self.lock:
                if turn.done or self.end is not None:
                    return
                if self._reader is None:
                    self._reader = turn
                reads = self._reader is turn
                turn.sleeps = not reads
            if not reads:
                if not turn.alarm.acquire(timeout=self._left(deadline, -1)):
                    raise CallTimeoutError
            elif not self._read_one(self._patience(deadline)) and not (
                deadline is None or self._left(deadline) > 0
            ):
                raise CallTimeoutError

    def leave(self, turn: Turn) -> None:
        """Wait no more; if ``turn`` is the reader, have another thread read."""
        with self.lock:
            turn.sleeps = False
            if self._reader is not turn:
                return
            self._reader = None
            workers = () if self.handling is None else self.handling.workers
            for other in (*workers, *reversed(self.open.values())):
                if other.sleeps:
                    self._reader = other
                    other.wake()
                    return

    def _patience(self, deadline: float | None) -> float | None:
        """Return how long to read: not for long if there is something left to send."""
        if self._unsent:
            self._flush()
        if self._unsent:
            return min(self._left(deadline), _SLICE)
        return None if deadline is None else self._left(deadline)

    def _read_one(self, timeout: float | None) -> bool:
        """Read once, and deal with what comes; return False if nothing came in time."""
        try:
            message = self._channel.read(timeout)
        except CallTimeoutError:
            return False
        except IPCChannelError as error:
            with self.lock:
                self._finish(error)
            return True
        with self.lock:
            if message is None:
                self._finish(None)
            elif self.end is None:
                try:
                    self.on_message(message)
                except BadMessageError as error:
                    self._finish(error)
        if isinstance(self.read_error, BadMessageError):
            self._channel.disconnect()
        elif self._unsent:
            self._flush()
        return True

    def look(self) -> None:
        """Deal with what has arrived, unless another thread reads."""
        turn = Turn()
        with self.lock:
            if self._reader is not None or self.end is not None:
                return
            self._reader = turn
        try:
            while self._read_one(0) and not self.is_over():
                pass
        finally:
            self.leave(turn)

    def write(
        self, message: bytes, deadline: float | None = None, call: Call | None = None
    ) -> None:
        """Write, and read whenever the other end does not take it; it may be for a call."""
        while True:
            try:
                self._write(message, max(min(self._left(deadline), _SLICE), 0), call)
            except UnfinishedWriteError:
                return  # the rest goes out while this thread waits for the answer
            except CallTimeoutError:
                if self._left(deadline) <= 0:
                    raise CallTimeoutError from None
                self.look()
            else:
                return

    def _write(self, message: bytes, timeout: float, call: Call | None) -> None:
        if call is None:
            self._channel.write(message, timeout)
            return
        call.unsent = False
        arguments = self._driver, self._session, message, timeout
        if not write_at_once(*arguments):
            write(*arguments, call.on_not_sent)

    def refuse(self, number: int, error: RequestError) -> None:
        """Answer a request with an error, without waiting."""
        self.send_soon(encode_error(number, error, self.limit))

    def send_soon(self, message: bytes) -> None:
        """Send a message without waiting, now or when something else is read or sent."""
        self._unsent.append(message)

    def _flush(self) -> None:
        """Send what was put off, as far as the other end takes it."""
        with self.lock:
            while self._unsent:
                try:
                    self._channel.write(self._unsent[0], 0)
                except UnfinishedWriteError:
                    pass
                except IPCChannelError:
                    return
                self._unsent.popleft()

    def _drop(self, number: int, call: Call) -> None:
        """Cancel a request; if it was sent, it stays open until it is answered."""
        with self.lock:
            call.sleeps = False
            if call.unsent and self.open.pop(number, None) is not None:
                self.on_room()
            if number not in self.open:
                return
            self.send_soon(encode_cancel(number))
        self._flush()

    def _left(self, deadline: float | None, without: float = _SLICE) -> float:
        """Return the seconds until ``deadline``, or ``without`` if there is none."""
        return without if deadline is None else max(deadline - self.clock(), 0)

    def _finish(self, error: IPCChannelError | None) -> None:
        """Fail all calls, and end serving: the session has ended."""
        if self.end is None:
            self.fail_calls(error, self._channel.end_reason)
            if self.handling is not None:
                self.handling.finish()

    def on_room(self) -> None:
        if len(self.open) == self._max_open - 1:
            self._room.notify_all()

    def has_request(self, number: int) -> bool:
        return self.handling is not None and self.handling.has(number)

    def on_request(self, number: int, payload: bytes) -> None:
        if self.handling is None:
            self.refuse(number, unserved())
        else:
            self.handling.begin(number, payload, self._reader)

    def on_cancel(self, number: int) -> None:
        if self.handling is not None:
            self.handling.cancel(number)
