"""Answers requests: runs a handler for each, and sends what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ipc_channel.aio.eager import start_task
from ipc_channel.aio.sender import Sender
from ipc_channel.codec import is_async
from ipc_channel.errors import IPCChannelError, RequestError
from ipc_channel.protocol.exchange import busy, cancelled, failure_message
from ipc_channel.protocol.request_messages import ANSWER, encode, encode_error

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Handler = Callable[[bytes], Awaitable[Buffer] | Buffer]


class Handling:
    """The requests of the other end that are not answered yet.

    At most ``concurrency`` of them have a handler that runs, or an answer that waits until
    the other end reads. The others wait for their turn; beyond ``max_open`` in all, a
    request is answered with ``busy``.
    """

    def __init__(
        self, handler: Handler, concurrency: int, max_open: int, sender: Sender
    ) -> None:
        self._handler = handler
        self._is_async = is_async(handler)
        self._concurrency = concurrency
        self._max_open = max_open
        self._sender = sender
        self._limit = sender.max_message_size
        self._loop = sender.stream.loop
        self._waiting: dict[int, bytes] = {}
        self._running: dict[int, _Running] = {}
        self._refusals: set[asyncio.Task[None]] = set()
        self._starts = False
        self._exits = False
        self._answers = True

    def has(self, number: int) -> bool:
        """Whether a request with this id is not answered yet."""
        return number in self._running or number in self._waiting

    def begin(self, number: int, payload: bytes) -> None:
        """Call the handler for a new request, now or when it is its turn."""
        if len(self._running) + len(self._waiting) >= self._max_open:
            self._refuse(number, busy(self._max_open))
        elif self._waiting or len(self._running) >= self._concurrency:
            self._waiting[number] = payload
        else:
            self._start(number, payload)

    def begin_all(self, requests: dict[int, bytes]) -> None:
        """Begin several at once: the first handler may read the cancel of the last."""
        self._waiting.update(requests)
        self._start_waiting()

    def cancel(self, number: int) -> None:
        """Cancel the handler of a request; do nothing if that was answered meanwhile."""
        if self._waiting.pop(number, None) is not None:
            self._refuse(number, cancelled())
        elif (running := self._running.get(number)) is not None:
            running.cancel()

    async def stop(self, *, answers: bool) -> None:
        """Cancel all handlers, and wait for their ends; send their answers or not."""
        self._answers = answers
        for number in (*self._waiting, *self._running):
            self.cancel(number)
        tasks = [one.task for one in self._running.values() if one.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, number: int, payload: bytes) -> None:
        """Have a request handled, in a task if its handler has to wait for something."""
        running = self._running[number] = _Running(self._loop)
        if self._is_async:
            self._run(
                number, running, self._handle(number, running, self._handler, payload)
            )
            return
        context = contextvars.copy_context()  # the handler keeps its changes to itself
        try:
            answer: Any = context.run(self._handler, payload)
            waits = type(answer) is not bytes and inspect.isawaitable(answer)
            message = b"" if waits else encode(ANSWER, number, answer, self._limit)
        except BaseException as error:  # noqa: BLE001  # the application's; serving goes on
            waits, message = False, self._failure(number, error)
        if waits:
            work = self._handle(number, running, _unchanged, answer)
            context.run(self._run, number, running, work, answer)
            return
        running.in_handler = False
        if (writing := self._send(message)) is None:
            self._end(number)
        else:
            self._run(number, running, self._write(number, running, writing), writing)

    def _run(
        self,
        number: int,
        running: _Running,
        work: Coroutine[Any, Any, None],
        awaited: object = None,
    ) -> None:
        """Do ``work`` in a task; if that is cancelled before it begins, give it up."""
        running.task = start_task(self._loop, work)
        if running.started:
            return

        def give_up(_: object) -> None:
            if not running.started:
                if inspect.iscoroutine(awaited):
                    awaited.close()
                self._end(number)

        running.task.add_done_callback(give_up)

    async def _handle(
        self, number: int, running: _Running, handler: Callable[[Any], Any], argument: Any
    ) -> None:
        running.started = True
        try:
            try:
                answer = handler(argument)
                if type(answer) is not bytes and inspect.isawaitable(answer):
                    answer = await answer
                message = encode(ANSWER, number, answer, self._limit)
            except GeneratorExit:  # of a loop that is closed
                raise
            except BaseException as error:  # noqa: BLE001  # as above
                message = self._failure(number, error)
            running.in_handler = False
            if (writing := self._send(message)) is not None:
                await _finish(writing)
        finally:
            self._end(number)

    def _send(self, message: bytes) -> Coroutine[None, None, None] | None:
        """Begin to send an answer, if there is one; return what is to be awaited, if anything."""
        if message and self._answers:
            try:
                return self._sender.write(message)
            except IPCChannelError:
                pass  # the session has ended, as the reader will find
        return None

    async def _write(
        self, number: int, running: _Running, writing: Coroutine[None, None, None]
    ) -> None:
        running.started = True
        try:
            await _finish(writing)
        finally:
            self._end(number)

    def _end(self, number: int) -> None:
        """A request is answered: it is the turn of another one."""
        del self._running[number]
        if self._waiting and self._loop.is_running():  # or else its loop was closed
            self._start_waiting()

    def _failure(self, number: int, error: BaseException) -> bytes:
        """Return the message for what a handler has raised; none if that ends the loop."""
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._exit(error)
            return b""
        if isinstance(error, asyncio.CancelledError):
            return encode_error(number, cancelled(), self._limit)
        return failure_message(number, error, self._limit)

    def _start_waiting(self) -> None:
        """Start handlers for requests that wait, in a loop: a start may end at once."""
        if self._starts:
            return
        self._starts = True
        try:
            while self._waiting and len(self._running) < self._concurrency:
                number = next(iter(self._waiting))
                self._start(number, self._waiting.pop(number))
        finally:
            self._starts = False

    def _exit(self, error: BaseException) -> None:
        """Have the loop raise what a handler has, once: this may run in a reader's task."""
        if not self._exits:
            self._exits = True
            self._loop.call_soon(_raise, error)

    def _refuse(self, number: int, error: RequestError) -> None:
        if self._answers:
            send_soon(
                self._sender,
                encode_error(number, error, self._limit),
                self._refusals,
            )


class _Running:
    """A request whose handler runs, or whose answer is being sent."""

    __slots__ = ("_loop", "in_handler", "started", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.task: asyncio.Task[None] | None = None
        self.started = False
        self.in_handler = True
        self._loop = loop

    def cancel(self) -> None:
        if not self.in_handler or (self.task is not None and self.task.done()):
            return
        if self.started and self.task is not None:
            self.task.cancel()
        else:  # a task that is cancelled before it starts never answers; or it begins now
            self._loop.call_soon(self.cancel)


def _unchanged(awaitable: Any) -> Any:
    return awaitable


def _raise(error: BaseException) -> None:
    raise error


def send_soon(sender: Sender, message: bytes, tasks: set[asyncio.Task[None]]) -> None:
    """Send a message without waiting; the reader finds out if that fails.

    What has to wait for the other end does so in a task, which is kept in ``tasks``.
    """
    try:
        writing = sender.write(message)
    except IPCChannelError:
        return
    if writing is not None:
        task = sender.stream.loop.create_task(_finish(writing))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _finish(writing: Coroutine[None, None, None]) -> None:
    with contextlib.suppress(IPCChannelError):
        await writing
