"""Faults of requests: their messages, and those that are not allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from conformance.faults import fault
from ipc_channel import BadMessageError, RequestError
from ipc_channel.aio import request_line
from ipc_channel.aio.request_line import RequestLine
from ipc_channel.aio.sender import Sender
from ipc_channel.protocol import exchange
from ipc_channel.protocol.exchange import Exchange

REQUEST, ANSWER, ERROR, CANCEL = 0x11, 0x12, 0x13, 0x14


def change_sent(change: Callable[[bytes], Iterable[bytes]]) -> None:
    """Send ``change(message)`` in place of each message."""
    real = Sender.write

    def write(self: Sender, data: Any) -> Any:
        waits = [real(self, one) for one in change(bytes(data))]
        return waits[-1] if waits else None

    Sender.write = write


def change_received(change: Callable[[bytes], bytes]) -> None:
    """Take ``change(message)`` for each message that arrives."""
    real = Exchange.on_message
    Exchange.on_message = lambda self, message: real(self, change(message))


def is_error(message: bytes, code: str) -> bool:
    return message[0] == ERROR and message[6:].startswith(code.encode())


def id_of(message: bytes) -> int:
    return int.from_bytes(message[1:5], "big")


# --- Messages


@fault("requests/vectors/call")
def ids_have_eight_bytes() -> None:
    change_sent(lambda message: [message[:1] + bytes(4) + message[1:]])
    change_received(lambda message: message[:1] + message[5:])


@fault("requests/vectors/serve-ids")
def reads_ids_little_endian() -> None:
    change_received(lambda message: message[:1] + message[4:0:-1] + message[5:])


@fault("requests/vectors/call-empty")
def takes_an_empty_answer_for_a_bad_message() -> None:
    change_received(lambda message: message if message[5:] else b"")


@fault("requests/call/largest")
def refuses_the_largest_request() -> None:
    real = exchange.encode

    def encode(kind: int, number: int, payload: Any, limit: int) -> bytes:
        return real(kind, number, payload, limit - 5)

    exchange.encode = encode


@fault("requests/call/small-limit")
def takes_any_limit() -> None:
    request_line.check_limit = lambda limit: None


def change_error(change: Callable[[RequestError], RequestError]) -> None:
    real = exchange.decode_error
    exchange.decode_error = lambda message: change(real(message))


@fault("requests/vectors/error")
def drops_the_text_of_an_error() -> None:
    change_error(lambda error: RequestError(code=error.code))


@fault("requests/vectors/error-without-text")
def drops_the_code_of_an_error() -> None:
    change_error(lambda error: RequestError(str(error)))


@fault("requests/vectors/error-bad-utf8")
def takes_invalid_utf8_for_a_bad_message() -> None:
    def change(error: RequestError) -> RequestError:
        if "\ufffd" in str(error):
            raise BadMessageError("no UTF-8")
        return error

    change_error(change)


@fault("requests/vectors/bad-error-upper-case-code")
def takes_codes_in_capital_letters() -> None:
    def change(message: bytes) -> bytes:
        return message[:6] + message[6:].lower() if message[0] == ERROR else message

    change_received(change)


@fault("requests/vectors/bad-error-code-with-underscore")
@fault("requests/vectors/bad-error-code-with-dot")
def takes_codes_of_other_characters() -> None:
    def change(message: bytes) -> bytes:
        if message[0] == ERROR:
            message = message[:6] + message[6:].replace(b"_", b"-").replace(b".", b"-")
        return message

    change_received(change)


@fault("requests/vectors/error-all-characters")
def refuses_digits_in_codes() -> None:
    def change(error: RequestError) -> RequestError:
        if any(one.isdigit() for one in error.code):
            raise BadMessageError("a digit")
        return error

    change_error(change)


@fault("requests/vectors/serve-error-bad-code")
def sends_what_is_no_code() -> None:
    def change(message: bytes) -> list[bytes]:
        if is_error(message, "failed"):
            message = message[:5] + b"\x09Not_Found" + message[12:]
        return [message]

    change_sent(change)


# --- Messages that are not allowed


@fault("requests/vectors/bad-unknown-kind")
@fault("requests/vectors/bad-second-answer")
def ignores_what_is_not_allowed() -> None:
    real = Exchange.on_message

    def on_message(self: Exchange[Any], message: bytes) -> None:
        try:
            real(self, message)
        except BadMessageError:
            return

    Exchange.on_message = on_message


@fault("requests/vectors/bad-text")
@fault("requests/vectors/serve-bad-kind")
def stays_open_after_a_bad_message() -> None:
    """It fails the calls, and does not close the session."""
    request_line.BadMessageError = KeyError


@fault("requests/vectors/bad-cancel-with-body")
def takes_a_cancel_with_a_body() -> None:
    change_received(lambda message: message[:5] if message[0] == CANCEL else message)


@fault("requests/vectors/serve-bad-id-in-use")
def takes_an_id_twice() -> None:
    RequestLine.has_request = lambda self, number: False


@fault("requests/bad-message/calls")
def looks_behind_a_bad_message() -> None:
    real = Exchange.on_message

    def on_message(self: RequestLine, message: bytes) -> None:
        try:
            real(self, message)
        except BadMessageError:
            while behind := self._session.inbox.read_nowait():
                real(self, behind)
            raise

    Exchange.on_message = on_message
