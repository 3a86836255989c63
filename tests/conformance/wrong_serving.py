"""Faults of serving: answers, errors, cancels and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from conformance.faults import fault
from conformance.wrong_requests import ANSWER, ERROR, change_sent, is_error
from ipc_channel.aio import handling
from ipc_channel.aio.handling import Handling
from ipc_channel.aio.inbox import Inbox
from ipc_channel.aio.request_line import RequestLine
from ipc_channel.conformance import python_testee
from ipc_channel.protocol import exchange
from ipc_channel.protocol.request_messages import bad_message, encode_cancel, encode_error

# --- Answers and errors


@fault("requests/vectors/serve-one-after-the-other")
@fault("requests/serve/each-once")
def answers_twice() -> None:
    change_sent(lambda message: [message] * (1 + (message[0] == ANSWER)))


def drop_errors(code: str) -> None:
    change_sent(lambda message: [] if is_error(message, code) else [message])


@fault("requests/vectors/serve-cancel")
@fault("requests/serve/cancels-meanwhile")
@fault("requests/serve/called-off")
def does_not_answer_what_was_cancelled() -> None:
    drop_errors("cancelled")


@fault("requests/vectors/unserved")
@fault("requests/serve/called-off")
def does_not_answer_what_it_does_not_serve() -> None:
    drop_errors("unserved")


@fault("requests/vectors/serve-failure")
def does_not_answer_when_a_handler_fails() -> None:
    drop_errors("failed")


@fault("requests/vectors/serve-too-large")
def does_not_answer_with_a_large_answer() -> None:
    drop_errors("too-large")


@fault("requests/serve/busy")
def does_not_answer_when_it_is_busy() -> None:
    drop_errors("busy")


@fault("requests/vectors/serve-error")
@fault("requests/serve/each-once")
def says_failed_whatever_the_code() -> None:
    def change(message: bytes) -> list[bytes]:
        if message[0] == ERROR:
            text = message[6 + message[5] :]
            message = message[:5] + b"\x06failed" + text
        return [message]

    change_sent(change)


@fault("requests/serve/each-once")
def does_not_say_what_has_happened() -> None:
    change_sent(lambda message: [message[:12] if is_error(message, "failed") else message])


@fault("requests/vectors/serve-text-cut")
def cuts_a_text_inside_a_character() -> None:
    def encode(number: int, error: Any, limit: int) -> bytes:
        return encode_error(number, error, 2**20)[:limit]

    exchange.encode_error = encode


# --- Cancels


def on_cancel(do: Callable[[RequestLine, int], None]) -> None:
    real = RequestLine.on_cancel

    def cancelled(self: RequestLine, number: int) -> None:
        do(self, number)
        real(self, number)

    RequestLine.on_cancel = cancelled


@fault("requests/vectors/serve-cancel")
@fault("requests/vectors/serve-cancel-ignored")
def ignores_cancels() -> None:
    RequestLine.on_cancel = lambda self, number: None


@fault("requests/vectors/serve-cancel-before-handling")
def ignores_cancels_of_what_waits() -> None:
    real = Handling.cancel

    def cancel(self: Handling, number: int) -> None:
        if number not in self._waiting:
            real(self, number)

    Handling.cancel = cancel


@fault("requests/vectors/serve-cancel-unknown")
@fault("requests/vectors/serve-cancel-answered")
def refuses_a_cancel_that_comes_too_late() -> None:
    def refuse(line: RequestLine, number: int) -> None:
        if not line.has_request(number):
            raise bad_message(encode_cancel(number), "there is no such request")

    on_cancel(refuse)


@fault("requests/vectors/serve-cancel-twice")
def answers_each_cancel() -> None:
    seen = list[int]()

    def answer(line: RequestLine, number: int) -> None:
        if number in seen:
            line.sender.write(encode_error(number, handling.cancelled(), 1000))
        seen.append(number)

    on_cancel(answer)


# --- Reading meanwhile


def read_only_when(is_free: Callable[[], bool]) -> None:
    real, now = Inbox.read, Inbox.read_nowait

    async def read(self: Inbox) -> bytes | None:
        while not is_free():
            await asyncio.sleep(0.005)
        message = now(self)
        return await real(self) if message is None else message

    Inbox.read, Inbox.read_nowait = read, lambda self: None


@fault("requests/vectors/serve-out-of-order")
@fault("requests/vectors/both-ways")
@fault("requests/serve/cancels-meanwhile")
def reads_only_between_handlers() -> None:
    running = list[bytes]()
    real = python_testee.handle

    async def handle(payload: bytes, call: Any) -> bytes:
        running.append(payload)
        try:
            return await real(payload, call)
        finally:
            running.remove(payload)

    python_testee.handle = handle
    read_only_when(lambda: not running)


@fault("requests/serve/reads-while-answers-wait")
@fault("requests/serve/reads-while-errors-wait")
@fault("requests/serve/large-both-ways")
def reads_only_when_all_is_written() -> None:
    senders = list[Any]()
    real = RequestLine.__init__

    def init(self: RequestLine, session: Any, max_open: int, *, serves: bool) -> None:
        senders.append(session.sender)
        real(self, session, max_open, serves=serves)

    RequestLine.__init__ = init
    read_only_when(lambda: not any(one.size for one in senders))


# --- The end


@fault("requests/ends/close/handlers")
@fault("requests/ends/own-close")
def leaves_handlers_running() -> None:
    async def stop(self: Handling, *, answers: bool) -> None:
        self._answers = answers

    Handling.stop = stop


@fault("requests/ends/close/handlers")
@fault("requests/ends/eof/handlers")
def answers_after_the_end() -> None:
    real = Handling.stop

    async def stop(self: Handling, *, answers: bool) -> None:
        await real(self, answers=True)

    Handling.stop = stop


@fault("requests/serve/called-off")
def drops_what_it_has_begun_when_called_off() -> None:
    real = Handling.stop

    async def stop(self: Handling, *, answers: bool) -> None:
        await real(self, answers=False)

    Handling.stop = stop


@fault("requests/serve/called-off")
def drops_what_waits_when_called_off() -> None:
    real = Handling.stop

    async def stop(self: Handling, *, answers: bool) -> None:
        self._waiting.clear()
        await real(self, answers=answers)

    Handling.stop = stop


@fault("requests/ends/close/handlers")
@fault("requests/ends/truncated/handlers")
def handles_what_waits_after_the_end() -> None:
    real = Handling.stop

    async def stop(self: Handling, *, answers: bool) -> None:
        waiting, self._waiting = self._waiting, {}
        await real(self, answers=answers)
        self._stopped = False
        for one in waiting.items():
            self._start(*one)
        await asyncio.wait([one.task for one in self._running.values() if one.task])

    Handling.stop = stop


@fault("requests/vectors/serve-close")
@fault("requests/ends/truncated/handlers")
def serves_for_ever() -> None:
    real = RequestLine.listen

    async def listen(self: RequestLine) -> None:
        await real(self)
        await asyncio.Event().wait()

    RequestLine.listen = listen
