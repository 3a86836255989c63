"""What asyncio and blocking programs share of the requests layer (spec/requests.md); no I/O."""

from __future__ import annotations

import functools
import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ipc_channel.errors import (
    BadMessageError,
    CallTimeoutError,
    ChannelClosedError,
    EndReason,
    IPCChannelError,
    PeerError,
    RequestError,
    SessionInterruptedError,
    UnansweredError,
)
from ipc_channel.log import safely
from ipc_channel.protocol.request_messages import (
    ANSWER,
    CANCEL,
    ERROR,
    HEAD_SIZE,
    REQUEST,
    AnswerTooLargeError,
    bad_message,
    decode_error,
    decode_head,
    encode,
    encode_error,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

_logger = logging.getLogger("ipc_channel")
_IDS = 2**32


class OpenCall(Protocol):
    """A request of this end that is not answered."""

    def give(self, answer: bytes = b"", error: IPCChannelError | None = None) -> None:
        """Take the answer, or the error."""


Call = TypeVar("Call", bound=OpenCall)


class Exchange(Generic[Call]):
    """The open requests of this end, and what each message that arrives means.

    A subclass has the I/O, and deals with the requests of the other end.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open: dict[int, Call] = {}
        self.end: IPCChannelError | None = None
        """What calls raise once the session has ended."""
        self.read_error: IPCChannelError | None = None
        """What reading has raised at the end of the session."""
        self.write_error: PeerError | None = None
        """What writing has raised: then the session has ended for requests."""
        self._end_reason: EndReason | None = None
        self._last_id = 0

    def new_request(self, payload: Buffer) -> tuple[int, bytes]:
        """Return an id and the message for a request; raise once the session has ended."""
        if self.end is not None:
            end = self.failure(self.read_error, self._end_reason, sent=False)
            raise not_sent(end.copy_to_raise())
        number = (self._last_id + 1) % _IDS
        while number in self.open:
            number = (number + 1) % _IDS
        message = encode(REQUEST, number, payload, self.limit)
        self._last_id = number
        return number, message

    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self.end is not None

    def on_message(self, message: bytes) -> None:
        """Deal with a message; raise BadMessageError if it may not come."""
        kind, number = decode_head(message)
        if kind == ANSWER:
            self._call_of(message, number).give(message[HEAD_SIZE:])
        elif kind == REQUEST:
            if self.has_request(number):
                raise bad_message(message, f"request {number} is not answered yet")
            self.on_request(number, message[HEAD_SIZE:])
        elif kind == ERROR:
            error = decode_error(message)
            self._call_of(message, number).give(error=error)
        elif kind == CANCEL:
            if len(message) > HEAD_SIZE:
                raise bad_message(message, "it is a cancel with a body")
            self.on_cancel(number)
        else:
            raise bad_message(message, f"there is no kind 0x{kind:02x}")

    def _call_of(self, message: bytes, number: int) -> Call:
        """Return the call that is answered, which is not open any more."""
        call = self.open.pop(number, None)
        if call is None:
            raise bad_message(message, f"{number} is the id of no open request")
        self.on_room()
        return call

    def fail_calls(self, error: IPCChannelError | None, reason: EndReason | None) -> None:
        """Fail all calls, as the session has ended, with ``error`` if that was not orderly."""
        self.read_error, self._end_reason = error, reason
        self.end = self.failure(error, reason)
        for call in self.open.values():
            self.on_room()
            call.give(error=self.end)
        self.open.clear()

    def failure(
        self, error: IPCChannelError | None, reason: EndReason | None, *, sent: bool = True
    ) -> IPCChannelError:
        """Return what calls raise at this end of the session, if they were sent or not."""
        if isinstance(error, BadMessageError | SessionInterruptedError):
            return error
        if self.write_error is None and reason is EndReason.LOCAL:
            before = " before the answer came" if sent else ""
            return ChannelClosedError(f"this end closed the channel{before}")
        how = f"the session ended ({reason})"
        if self.write_error is not None:
            how = "the other end does not read any more"
        what = "no answer came: the request may or may not have been dealt with"
        if not sent:
            what = "the request was not sent"
        failure = UnansweredError(f"{how}, and {what}", reason)
        failure.__cause__ = self.write_error or error
        return failure

    @abstractmethod
    def on_room(self) -> None:
        """A request of this end is open no more."""

    @abstractmethod
    def has_request(self, number: int) -> bool:
        """Whether the other end has a request with this id that is not answered."""

    @abstractmethod
    def on_request(self, number: int, payload: bytes) -> None:
        """The other end has sent a request."""

    @abstractmethod
    def on_cancel(self, number: int) -> None:
        """The other end does not need the answer to this request any more."""


class EarlyRequests:
    """Requests that have arrived before anything answers them, and wait for that."""

    workers = ()

    def __init__(self, max_open: int, refuse: Callable[[int, RequestError], None]) -> None:
        self._max_open = max_open
        self._refuse = refuse
        self._requests: dict[int, bytes] = {}

    def has(self, number: int) -> bool:
        """Whether a request with this id is not answered yet."""
        return number in self._requests

    def begin(self, number: int, payload: bytes, reader: object = None) -> None:
        """Keep a new request; ``reader`` has read it."""
        del reader
        if len(self._requests) >= self._max_open:
            self._refuse(number, busy(self._max_open))
        else:
            self._requests[number] = payload

    def cancel(self, number: int) -> None:
        """Answer that a request was cancelled."""
        if self._requests.pop(number, None) is not None:
            self._refuse(number, cancelled())

    def finish(self) -> None:
        """Forget all requests: the session has ended."""
        self._requests.clear()

    def hand_over(self) -> dict[int, bytes]:
        """Return all requests, in their order, for what answers them."""
        requests, self._requests = self._requests, {}
        return requests


def failure_message(number: int, error: BaseException, limit: int) -> bytes:
    """Return the answer to a request whose handler has raised ``error``."""
    told = None
    if isinstance(error, RequestError):
        told = error
    elif isinstance(error, AnswerTooLargeError):
        told = RequestError(str(error), code="too-large")
    if told is not None:
        try:
            return encode_error(number, told, limit)
        except Exception as failure:  # noqa: BLE001  # of a subclass of the application
            error = failure
    return encode_error(number, fault(error), limit)


def fault(error: BaseException) -> RequestError:
    """Return what the other end is told of an exception that nobody has foreseen."""
    safely(
        functools.partial(_logger.error, exc_info=error), "the handler of a request failed"
    )
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # the application's; there has to be an answer
        text = "its text cannot be told"
    return RequestError(f"{type(error).__name__}: {text}")


def not_sent(error: IPCChannelError) -> IPCChannelError:
    """Return ``error``; if it leaves open whether the request was sent, it says it was not."""
    if isinstance(error, UnansweredError | BadMessageError):
        error.sent = False
    return error


def call_timeout(timeout: float, most: int, *, sent: bool) -> CallTimeoutError:
    """Return what a call raises after ``timeout`` seconds, if its request was sent or not."""
    text = f"no answer came within {timeout} s; the request was cancelled"
    if not sent:
        text = (
            f"the request was not sent within {timeout} s: max_open = {most} requests are"
            " open, or the other end does not read"
        )
    error = CallTimeoutError(text)
    error.sent = int(sent)
    return error


def unserved() -> RequestError:
    """Return the error of an end that answers no requests."""
    text = "the end that got this request does not serve: it only calls, or has stopped"
    return RequestError(text, code="unserved")


def cancelled() -> RequestError:
    """Return the error of a request that was cancelled."""
    return RequestError("the request was cancelled", code="cancelled")


def busy(most: int) -> RequestError:
    """Return the error of a request that is one too many."""
    text = f"{most} requests are open already: both ends need the same max_open"
    return RequestError(text, code="busy")
