"""Answers requests in threads: calls a handler for each, and sends what comes of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ipc_channel.errors import IPCChannelError
from ipc_channel.protocol.exchange import busy, cancelled, failure_message
from ipc_channel.protocol.request_messages import ANSWER, encode
from ipc_channel.sync.request_line import RequestLine
from ipc_channel.sync.request_turn import Turn

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Handler = Callable[[bytes], Buffer]

_current = threading.local()


class Handling:
    """The requests of the other end that are not answered yet, and threads for them.

    All but :meth:`run` is called with the lock of ``line``.
    """

    def __init__(
        self,
        line: RequestLine,
        handler: Handler,
        concurrency: int,
        max_open: int,
        end_session: Callable[[], object],
    ) -> None:
        self._line = line
        self._handler = handler
        self._max_open = max_open
        self._waiting: deque[Request] = deque()  # for a thread
        self._unanswered: dict[int, Request] = {}
        self.workers = [Worker(self._waiting) for _ in range(concurrency)]
        self._end_session = end_session
        self.failure: BaseException | None = None
        """What has ended another thread than that of serve."""

    def run(self, turn: Worker) -> None:
        """Handle requests in this thread until the session has ended."""
        line = self._line
        while not line.is_over():
            try:
                line.wait(turn, None)
            finally:
                line.leave(turn)
            with line.lock:
                request = self._waiting.popleft() if self._waiting else None
                is_due = request is not None and not request.cancelled
            if request is not None and is_due:  # whatever is cancelled from now on
                self._handle(request)

    def run_in_thread(self, turn: Worker) -> None:
        """Do the same in another thread; what ends it, such as ``sys.exit``, ends serving."""
        try:
            self.run(turn)
        except BaseException as error:  # noqa: BLE001  # the thread of serve raises it
            self.failure = error
            self._end_session()

    def has(self, number: int) -> bool:
        """Whether a request with this id is not answered yet."""
        return number in self._unanswered

    def begin(self, number: int, payload: bytes, reader: Turn | None = None) -> None:
        """Have a thread handle a new request: the one that has read it, if that can."""
        line = self._line
        if len(self._unanswered) >= self._max_open:
            line.refuse(number, busy(self._max_open))
            return
        request = self._unanswered[number] = Request(line, number, payload)
        self._waiting.append(request)
        if not isinstance(reader, Worker):
            for turn in self.workers:
                if turn.sleeps:
                    turn.wake()
                    return

    def cancel(self, number: int) -> None:
        """Tell the handler of a request, if it is not answered yet."""
        request = self._unanswered.get(number)
        if request is None:
            return
        request.cancelled = True
        if request in self._waiting:
            self._waiting.remove(request)
            del self._unanswered[number]
            self._line.refuse(number, cancelled())

    def finish(self) -> None:
        """End all handlers: the session has ended."""
        for request in self._unanswered.values():
            request.cancelled = True
        for turn in self.workers:
            turn.wake()

    def _handle(self, request: Request) -> None:
        line = self._line
        _current.request = request
        try:
            message = self._answer_of(request)
        finally:
            _current.request = None
            with line.lock:
                self._unanswered.pop(request.number, None)
        try:
            if not line.is_over():
                line.write(message)
        except IPCChannelError:
            pass  # the session has ended, as the reader finds

    def _answer_of(self, request: Request) -> bytes:
        """Return the answer, or the error, as a message."""
        limit = self._line.limit
        try:
            return encode(ANSWER, request.number, self._handler(request.payload), limit)
        except Exception as error:  # noqa: BLE001  # the application's; serving goes on
            return failure_message(request.number, error, limit)


class Worker(Turn):
    """A thread that waits for requests."""

    def __init__(self, waiting: deque[Request]) -> None:
        super().__init__()
        self._waiting = waiting

    @property
    def done(self) -> bool:  # type: ignore[override]  # whatever it waits for
        return bool(self._waiting)


class Request:
    """A request of the other end, until it is answered."""

    def __init__(self, line: RequestLine, number: int, payload: bytes) -> None:
        self.line = line
        self.number = number
        self.payload = payload
        self.cancelled = False


def request_cancelled() -> bool:
    """Whether the request that the handler in this thread deals with was cancelled.

    It is, too, once the session has ended. Call it now and then in a handler of
    :func:`serve` that takes long; it looks at what has arrived, without waiting. If it
    returns True, the answer is not needed any more: return anything, or raise
    ``RequestError(code="cancelled")``.
    """
    request: Request | None = getattr(_current, "request", None)
    if request is None:
        raise RuntimeError(
            "request_cancelled is for handlers, in the thread that calls them"
        )
    if not request.cancelled:
        request.line.look()
    return request.cancelled
