"""Faults of calls: ids, cancels, and what becomes of calls at the end of the session."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from conformance.faults import fault
from conformance.wrong_requests import (
    ANSWER,
    CANCEL,
    ERROR,
    REQUEST,
    change_sent,
    id_of,
)
from ipc_channel import UnansweredError
from ipc_channel.aio.request_line import RequestLine
from ipc_channel.aio.sender import Sender
from ipc_channel.conformance import python_testee
from ipc_channel.conformance.python_testee import Testee, Told
from ipc_channel.protocol import exchange
from ipc_channel.protocol.exchange import Exchange


def answer(number: int, message: bytes) -> bytes:
    """Return the same answer to another request."""
    return message[:1] + number.to_bytes(4, "big") + message[5:]


# --- Ids and open requests


@fault("requests/call/ids")
def ids_have_one_byte() -> None:
    """After 255 comes 0, although its request may be open."""
    counter = itertools.count(1)

    def new_request(self: RequestLine, payload: bytes) -> tuple[int, bytes]:
        number = next(counter) % 256
        return number, exchange.encode(REQUEST, number, payload, self.limit)

    RequestLine.new_request = new_request


@fault("requests/vectors/calls-out-of-order")
@fault("requests/call/any-order")
def expects_answers_in_order() -> None:
    """It gives an answer to the oldest call, whatever the id."""
    real = Exchange.on_message

    def on_message(self: RequestLine, message: bytes) -> None:
        if message[0] == ANSWER and self.open:
            message = answer(next(iter(self.open)), message)
        real(self, message)

    Exchange.on_message = on_message


@fault("requests/call/most-open")
@fault("requests/serve/busy")
def has_and_takes_more_open_requests() -> None:
    real = python_testee.RequestChannel
    python_testee.RequestChannel = lambda channel: real(channel, max_open=2048)


def lets_nobody_follow(self: RequestLine, do: Callable[[], None]) -> None:
    """Do something, at which no call that waits gets its turn."""
    self.on_room = lambda: None
    try:
        do()
    finally:
        del self.on_room


@fault("requests/call/waiting")
def lets_calls_wait_after_an_error() -> None:
    real = Exchange.on_message

    def on_message(self: RequestLine, message: bytes) -> None:
        if message[0] == ERROR:
            lets_nobody_follow(self, lambda: real(self, message))
        else:
            real(self, message)

    Exchange.on_message = on_message


# --- Calls that are cancelled


@fault("requests/vectors/cancel")
def sends_no_cancel() -> None:
    change_sent(lambda message: [] if message[0] == CANCEL else [message])


@fault("requests/vectors/cancel-crosses-answer")
def sends_a_cancel_twice() -> None:
    change_sent(lambda message: [message] * (1 + (message[0] == CANCEL)))


@fault("requests/vectors/cancel-after-answer")
def cancels_what_is_answered() -> None:
    async def cancel(self: Testee, told: Told) -> Told:
        if self.channel is not None and told["of"] not in self.tasks:
            await self.channel.write(bytes([CANCEL, 0, 0, 0, 1]))
        return await real(self, told)

    real = Testee.do_cancel
    Testee.do_cancel = cancel


def on_cancelled(do: Callable[[RequestLine, int], None]) -> None:
    lines = list[RequestLine]()
    real = RequestLine.new_request

    def new_request(self: RequestLine, payload: bytes) -> tuple[int, bytes]:
        lines.append(self)
        return real(self, payload)

    def sent(message: bytes) -> list[bytes]:
        if message[0] == CANCEL:
            do(lines[-1], id_of(message))
        return [message]

    RequestLine.new_request = new_request
    change_sent(sent)


@fault("requests/vectors/cancel-crosses-answer")
@fault("requests/call/late-answers")
def forgets_a_cancelled_request() -> None:
    def forget(line: RequestLine, number: int) -> None:
        del line.open[number]

    on_cancelled(forget)


@fault("requests/call/late-answers")
def gives_a_late_answer_to_another_call() -> None:
    cancelled = set[int]()
    on_cancelled(lambda _, number: cancelled.add(number))
    real = Exchange.on_message

    def on_message(self: RequestLine, message: bytes) -> None:
        others = [number for number in self.open if number not in cancelled]
        if message[0] == ANSWER and id_of(message) in cancelled and others:
            message = answer(others[-1], message)
        real(self, message)

    Exchange.on_message = on_message


@fault("requests/call/cancel-while-writing")
@fault("requests/call/late-answers")
def counts_a_cancelled_request_for_ever() -> None:
    cancelled = set[int]()
    on_cancelled(lambda _, number: cancelled.add(number))
    real = Exchange.on_message

    def on_message(self: RequestLine, message: bytes) -> None:
        number = id_of(message)
        call = self.open.get(number)
        real(self, message)
        if call is not None and number in cancelled:
            self.open[-number] = call

    Exchange.on_message = on_message


@fault("requests/call/cancel-while-writing")
def sends_no_cancel_for_what_is_being_written() -> None:
    real = Sender.write

    def write(self: Sender, data: Any) -> Any:
        return None if data[0] == CANCEL and self.size else real(self, data)

    Sender.write = write


# --- Ends


@fault("requests/ends/waiting-calls")
def lets_calls_wait_at_the_end() -> None:
    real = Exchange.fail_calls

    def fail_calls(self: RequestLine, *args: Any) -> None:
        lets_nobody_follow(self, lambda: real(self, *args))

    Exchange.fail_calls = fail_calls


@fault("requests/ends/close/calls")
@fault("requests/vectors/ends-eof")
def takes_the_end_for_an_answer() -> None:
    real = Exchange.fail_calls

    def fail_calls(self: RequestLine, *args: Any) -> None:
        self.open.clear()
        real(self, *args)

    Exchange.fail_calls = fail_calls


@fault("requests/vectors/own-close")
@fault("requests/ends/own-close")
def takes_its_own_close_for_the_peers() -> None:
    real = Exchange.failure
    Exchange.failure = lambda self, error, _: real(self, error, None)


@fault("requests/ends/not-sent-again")
def sends_a_request_again() -> None:
    unanswered: list[Told] = []
    call, connect = Testee.do_call, Testee.do_connect

    async def do_call(self: Testee, told: Told) -> Told:
        try:
            return await call(self, told)
        except UnansweredError:
            unanswered.append(told)
            raise

    async def do_connect(self: Testee, told: Told) -> Told:
        done = await connect(self, told)
        for one in unanswered:
            assert self.channel is not None
            again = bytes([REQUEST, 0, 0, 0, 9]) + bytes.fromhex(one["payload"])
            await self.channel.write(again)
        return done

    Testee.do_call, Testee.do_connect = do_call, do_connect
