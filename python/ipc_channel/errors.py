"""What can go wrong on a channel, and how a session can end.

Every error has a ``code``, the same string in every language (spec/errors.md)::

    IPCChannelError
    ├── LocalError                     a mistake or a decision of this end
    │   ├── BadRendezvousError         bad-rendezvous      also ValueError
    │   ├── EmptyMessageError          empty-message       also ValueError
    │   ├── MessageTooLargeError       message-too-large   also ValueError
    │   ├── NotConnectedError          not-connected       also ConnectionError, ValueError
    │   ├── ChannelClosedError         closed              also ConnectionError
    │   ├── ConnectInProgressError     busy                also RuntimeError
    │   ├── WrongLoopError             wrong-loop          also RuntimeError
    │   ├── WrongProcessError          wrong-process       also RuntimeError
    │   ├── SessionInterruptedError    interrupted         also ConnectionAbortedError
    │   └── UnfinishedWriteError       unfinished          also TimeoutError
    ├── PeerError                      the peer, or the connection to it
    │   ├── TruncatedError             truncated           also asyncio.IncompleteReadError
    │   ├── ResetError                 reset               also ConnectionResetError
    │   ├── FrameTooLargeError         too-large           also ValueError
    │   ├── PeerGoneError              peer-gone           also BrokenPipeError
    │   ├── UnansweredError            unanswered          also ConnectionError
    │   ├── BadMessageError            bad-message         also ValueError
    │   └── BadAnswerError             bad-answer          also ValueError
    ├── RequestError                   failed, or as the helper says
    ├── ConnectTimeoutError            timeout             also TimeoutError
    ├── CallTimeoutError               timeout             also TimeoutError
    └── HelperError                    helper-failed       also RuntimeError

The built-in bases are those that callers of ``aea.helpers.pipe`` may already catch.
A message that is not bytes-like raises a plain :class:`TypeError`, an option out of
range a plain :class:`ValueError`.
"""

from __future__ import annotations

import asyncio
import copy
import enum
import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from ipc_channel.introspection import MembersOnly, OwnNames

if TYPE_CHECKING:
    from ipc_channel.helper.result import HelperResult

_REQUEST_CODE = re.compile(r"[a-z0-9-]{1,64}")


class EndReason(enum.StrEnum, metaclass=MembersOnly):
    """What ended a session, as the reader saw it (spec/session.md)."""

    CLEAN = "clean"
    """The peer sent a close frame: it sends nothing more."""
    EOF = "eof"
    """The stream ended between two frames, without a close frame."""
    TRUNCATED = "truncated"
    """The stream ended inside a frame."""
    RESET = "reset"
    """The connection was reset."""
    TOO_LARGE = "too_large"
    """The peer announced a message over ``max_message_size``."""
    LOCAL = "local"
    """This end was closed, or had to give up (SessionInterruptedError)."""


class IPCChannelError(Exception, metaclass=OwnNames):
    """Base of all errors of this library."""

    code: str = "error"
    """Stable string that names the kind of error in every language."""

    def copy_to_raise(self) -> Self:
        """Return a copy to raise again, because a raised error keeps its traceback."""
        error = copy.copy(self)
        error.__cause__ = self.__cause__
        return error


class LocalError(IPCChannelError):
    """This end made a mistake or gave up; a message that it refused was not sent."""


class BadRendezvousError(LocalError, ValueError):
    """The rendezvous can never work: malformed, another user's, or of the wrong kind."""

    code = "bad-rendezvous"


class EmptyMessageError(LocalError, ValueError):
    """An empty message cannot be sent: the peer would take it for the close frame."""

    code = "empty-message"


class MessageTooLargeError(LocalError, ValueError):
    """A message over ``max_message_size`` was given to ``write``."""

    code = "message-too-large"


class NotConnectedError(LocalError, ConnectionError, ValueError):
    """The channel was used before a successful ``connect``."""

    code = "not-connected"


class ChannelClosedError(LocalError, ConnectionError):
    """The channel was closed by this end.

    A write that was waiting at that moment sent its message either whole or not at all.
    """

    code = "closed"


class ConnectInProgressError(LocalError, RuntimeError):
    """``connect`` was called while another ``connect`` waits."""

    code = "busy"


class WrongLoopError(LocalError, RuntimeError):
    """The channel belongs to an event loop that is not the running one."""

    code = "wrong-loop"


class WrongProcessError(LocalError, RuntimeError):
    """The channel was made before a fork and belongs to the parent process.

    Make a channel in each process, after the fork. In the child, the parent's channel
    only allows ``close`` and ``abort``, which do nothing: the child holds none of its
    descriptors.
    """

    code = "wrong-process"


class SessionInterruptedError(LocalError, ConnectionAbortedError):
    """An exception was raised between two steps of this end, which ended the session.

    A signal handler can raise anywhere, for instance right after the kernel has
    taken part of a message and before the session has counted those bytes. Then the
    session does not know which bytes were sent or received, and neither sends nor reads
    any more: so no message is sent twice or joined with another. Messages that arrived
    whole before can still be read.
    """

    code = "interrupted"


class UnfinishedWriteError(LocalError, TimeoutError):
    """A blocking write timed out after a part of its message had been sent.

    The next calls send the rest as soon as the peer reads, so the message must not be
    written again. ``close`` sends it too, if the peer reads within ``linger``.
    """

    code = "unfinished"
    sent = 1
    """How many messages of a ``write_many`` must not be written again."""


class PeerError(IPCChannelError):
    """The peer broke the protocol, or the connection to it broke."""


class TruncatedError(PeerError, asyncio.IncompleteReadError):
    """The stream ended inside a frame.

    ``partial`` holds the bytes of the header or payload that arrived, ``expected`` the
    number of bytes of the whole header or payload.
    """

    code = "truncated"

    def __init__(self, part: str, partial: bytes, expected: int) -> None:
        super().__init__(partial, expected)
        self.part = part
        self.args = (f"stream ended after {len(partial)} of the {expected} {part} bytes",)

    def __reduce__(self) -> tuple[type[TruncatedError], tuple[str, bytes, int | None]]:
        return type(self), (self.part, self.partial, self.expected)


class ResetError(PeerError, ConnectionResetError):
    """The connection was reset: the peer died, or closed without reading all.

    Or a read failed in another way, which ``__cause__`` tells.
    """

    code = "reset"


class FrameTooLargeError(PeerError, ValueError):
    """A received header announces a message over ``max_message_size``, or over the memory."""

    code = "too-large"


class PeerGoneError(PeerError, BrokenPipeError):
    """A write failed: the peer no longer reads, or ``__cause__`` is another reason."""

    code = "peer-gone"


class UnansweredError(PeerError, ConnectionError):
    """The session ended before the answer to a request came (spec/requests.md).

    The other end may or may not have dealt with it, unless ``sent`` is False.
    ``end_reason`` says how the session ended; ``__cause__`` is the error of it, if any.
    """

    code = "unanswered"
    sent = True

    def __init__(self, text: str, end_reason: EndReason | None = None) -> None:
        super().__init__(text)
        self.end_reason = end_reason


class BadMessageError(PeerError, ValueError):
    """A message is not one of the requests layer, or not one that may come now."""

    code = "bad-message"
    sent = True  # as of UnansweredError


class BadAnswerError(PeerError, ValueError):
    """The codec cannot decode ``answer``, for the reason ``__cause__``; the session goes on."""

    code = "bad-answer"

    def __init__(self, text: str, answer: bytes = b"") -> None:
        super().__init__(text)
        self.answer = answer

    def __reduce__(self) -> tuple[type[BadAnswerError], tuple[str, bytes]]:
        return type(self), (str(self), self.answer)


class RequestError(IPCChannelError):
    """What went wrong at the other end: ``str()`` is its text, ``code`` its code.

    A handler raises one to say both::

        raise RequestError("there is no file x", code="not-found")

    ``code`` is 1 to 64 of ``a-z``, ``0-9`` and ``-``. The codes ``failed``, ``cancelled``,
    ``unserved``, ``too-large`` and ``busy`` have a meaning (spec/requests.md); all others
    are the application's.
    """

    code = "failed"

    def __init__(self, text: str = "", *, code: str = "failed") -> None:
        super().__init__(text)
        if not isinstance(code, str):
            raise TypeError(f"the code of an error is a str, not {type(code).__name__}")
        if not _REQUEST_CODE.fullmatch(code):
            raise ValueError(f"the code of an error is 1 to 64 of a-z 0-9 -, not {code!r}")
        self.code = code

    def __reduce__(self) -> tuple[Callable[..., RequestError], tuple[str]]:
        return functools.partial(type(self), code=self.code), (str(self),)


class ConnectTimeoutError(IPCChannelError, TimeoutError):
    """No peer connected within the timeout of ``connect``."""

    code = "timeout"


class CallTimeoutError(IPCChannelError, TimeoutError):
    """A blocking read, write or close, or a call, was not done within its timeout.

    A read has lost nothing, and the message of a write was not sent. The request of a call
    was cancelled: the other end may or may not have dealt with it, unless ``sent`` is 0.
    ``sent`` is how many messages of a ``write_many`` were sent, and not those behind them;
    of a call it is 1, or 0 if its request was never sent.
    """

    code = "timeout"
    sent = 0


class HelperError(IPCChannelError, RuntimeError):
    """A helper did not start, ended before it connected, or did not connect in time.

    Also when a helper has failed by the time its block is left, is in use already, or
    cannot be ended. If a process has ended, ``result`` says how.
    """

    code = "helper-failed"
    result: HelperResult | None = None
    """How the process ended, and what it wrote last; None if no process has ended."""
