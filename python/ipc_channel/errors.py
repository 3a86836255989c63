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
    │   └── SessionInterruptedError    interrupted         also ConnectionAbortedError
    ├── PeerError                      the peer, or the connection to it
    │   ├── TruncatedError             truncated           also asyncio.IncompleteReadError
    │   ├── ResetError                 reset               also ConnectionResetError
    │   ├── FrameTooLargeError         too-large           also ValueError
    │   └── PeerGoneError              peer-gone           also BrokenPipeError
    ├── ConnectTimeoutError            timeout             also TimeoutError
    └── HelperError                    helper-failed       also RuntimeError

The built-in bases are what a caller of ``aea.helpers.pipe`` may already catch.
Something that is not bytes-like raises a plain :class:`TypeError`, an option
out of range a plain :class:`ValueError`.
"""

from __future__ import annotations

import asyncio
import copy
import enum
from typing import ClassVar, Self

from ipc_channel.introspection import MembersOnly, OwnNames


class EndReason(enum.StrEnum, metaclass=MembersOnly):
    """What ended a session, as the reader saw it (spec/session.md)."""

    CLEAN = "clean"
    """The peer said with a close frame that it sends nothing more."""
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

    code: ClassVar[str] = "error"
    """Stable string that names the kind of error in every language."""

    def copy_to_raise(self) -> Self:
        """Return a copy to raise once more: a raised error keeps its traceback."""
        error = copy.copy(self)
        error.__cause__ = self.__cause__
        return error


class LocalError(IPCChannelError):
    """A mistake or a decision of this end; what was refused was not sent."""


class BadRendezvousError(LocalError, ValueError):
    """The rendezvous can never work: malformed, not ours, or not what it should be."""

    code = "bad-rendezvous"


class EmptyMessageError(LocalError, ValueError):
    """An empty message cannot be sent: it would read as the end."""

    code = "empty-message"


class MessageTooLargeError(LocalError, ValueError):
    """A message over ``max_message_size`` was given to ``write``."""

    code = "message-too-large"


class NotConnectedError(LocalError, ConnectionError, ValueError):
    """The channel was used before a successful ``connect``."""

    code = "not-connected"


class ChannelClosedError(LocalError, ConnectionError):
    """The channel was closed by this end.

    A write that was waiting then may have been sent, whole, or not at all.
    """

    code = "closed"


def channel_closed() -> ChannelClosedError:
    """Return what ``connect`` and ``write`` give once the channel was closed."""
    return ChannelClosedError(
        "the channel was closed: make a new one"
        " (disconnect ends a session and keeps the channel)"
    )


def ended_here() -> ChannelClosedError:
    """Return what a write gets once this end has ended the session."""
    return ChannelClosedError(
        "this end has ended the session, and sends nothing more: after disconnect or abort"
        " call connect for the next session, after close make a new channel"
    )


class ConnectInProgressError(LocalError, RuntimeError):
    """``connect`` was called while another ``connect`` waits."""

    code = "busy"


class WrongLoopError(LocalError, RuntimeError):
    """The channel belongs to another event loop than the running one."""

    code = "wrong-loop"


class WrongProcessError(LocalError, RuntimeError):
    """The channel was made before a fork and belongs to the parent process.

    Make a channel in each process, after the fork. Only ``close`` is allowed on
    the parent's, and does nothing: the child holds nothing of it.
    """

    code = "wrong-process"


class SessionInterruptedError(LocalError, ConnectionAbortedError):
    """An exception has struck between two steps of this end, which ended the session.

    A signal handler can raise anywhere, for instance right after the kernel has
    taken a part of a message and before that was noted. The session does not
    know then what has passed, and neither sends nor reads any more: no message
    is sent twice, or joined with another. What arrived whole before can be read.
    """

    code = "interrupted"


class PeerError(IPCChannelError):
    """The peer broke the protocol, or the connection to it broke."""


class TruncatedError(PeerError, asyncio.IncompleteReadError):
    """The stream ended inside a frame.

    ``partial`` holds the bytes of the header or payload that arrived and
    ``expected`` says how many there should have been.
    """

    code = "truncated"

    def __init__(self, part: str, partial: bytes, expected: int) -> None:
        super().__init__(partial, expected)
        self.part = part
        self.args = (f"stream ended after {len(partial)} of the {expected} {part} bytes",)

    def __reduce__(self) -> tuple[type[TruncatedError], tuple[str, bytes, int | None]]:
        return type(self), (self.part, self.partial, self.expected)


class ResetError(PeerError, ConnectionResetError):
    """The connection was reset: the peer died, or closed without reading all."""

    code = "reset"


class FrameTooLargeError(PeerError, ValueError):
    """A received header announces a message over ``max_message_size``."""

    code = "too-large"


class PeerGoneError(PeerError, BrokenPipeError):
    """A write failed: the peer does not read any more."""

    code = "peer-gone"


class ConnectTimeoutError(IPCChannelError, TimeoutError):
    """``async with channel`` found nobody within the timeout."""

    code = "timeout"


class HelperError(IPCChannelError, RuntimeError):
    """A helper did not start, ended before it connected, or did not connect in time.

    Also when a helper is in use already, or cannot be ended.
    """

    code = "helper-failed"
