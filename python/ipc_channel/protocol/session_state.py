"""The states of a session, without any I/O (spec/session.md, "The states in full").

A session reports each event when it detects it, and the table defines what reads and
writes return from then on. Python reads ahead, so the table's "end" is the one that the
session has detected; the reader reaches it once no message is undelivered (SES-6).
"""

from __future__ import annotations

import enum
from collections.abc import Sized

from ipc_channel.closed import ended_here
from ipc_channel.errors import (
    EndReason,
    IPCChannelError,
    ResetError,
)


class Phase(enum.Enum):
    """The states of the table; its *R* and *W* are attributes of SessionState."""

    OPEN = "open"
    ENDED = "ended"
    UNWRITABLE = "unwritable"
    RESET_MET = "reset met"
    REFUSED = "refused"
    OVER = "over"
    CLOSING = "closing"
    CLOSED = "closed"


class Event(enum.Enum):
    """What can happen to a session, under the names of the vectors."""

    FRAME = "frame"
    CLOSE_FRAME = "close-frame"
    END_AT_BOUNDARY = "end-at-boundary"
    END_INSIDE_FRAME = "end-inside-frame"
    RESET_ON_READ = "reset-on-read"
    RESET_ON_WRITE = "reset-on-write"
    PEER_GONE_ON_WRITE = "peer-gone-on-write"
    OVER_LIMIT = "over-limit"
    CLOSE = "close"
    LINGER_OVER = "linger-over"
    ALL_SENT = "all-sent"
    INTERRUPTION = "interruption"


_Row = tuple[Phase, EndReason | None]
"""The next phase, and the end that the reader gets unless the session has ended before."""

_CLOSING: _Row = Phase.CLOSING, EndReason.LOCAL
_INTERRUPTED: _Row = Phase.OVER, EndReason.LOCAL

# An event without a row leaves the state as it is.
TABLE: dict[Phase, dict[Event, _Row]] = {
    Phase.OPEN: {
        Event.CLOSE_FRAME: (Phase.ENDED, EndReason.CLEAN),
        Event.END_AT_BOUNDARY: (Phase.ENDED, EndReason.EOF),
        Event.END_INSIDE_FRAME: (Phase.ENDED, EndReason.TRUNCATED),
        Event.RESET_ON_READ: (Phase.OVER, EndReason.RESET),
        Event.RESET_ON_WRITE: (Phase.RESET_MET, None),
        Event.PEER_GONE_ON_WRITE: (Phase.UNWRITABLE, None),
        Event.OVER_LIMIT: (Phase.REFUSED, EndReason.TOO_LARGE),
        Event.CLOSE: _CLOSING,
        Event.INTERRUPTION: _INTERRUPTED,
    },
    Phase.ENDED: {
        Event.RESET_ON_WRITE: (Phase.OVER, None),
        Event.PEER_GONE_ON_WRITE: (Phase.OVER, None),
        Event.CLOSE: _CLOSING,
        Event.INTERRUPTION: _INTERRUPTED,
    },
    Phase.UNWRITABLE: {
        Event.CLOSE_FRAME: (Phase.OVER, EndReason.CLEAN),
        Event.END_AT_BOUNDARY: (Phase.OVER, EndReason.EOF),
        Event.END_INSIDE_FRAME: (Phase.OVER, EndReason.TRUNCATED),
        Event.RESET_ON_READ: (Phase.OVER, EndReason.RESET),
        Event.OVER_LIMIT: (Phase.OVER, EndReason.TOO_LARGE),
        Event.CLOSE: _CLOSING,
        Event.INTERRUPTION: _INTERRUPTED,
    },
    Phase.RESET_MET: {
        Event.CLOSE_FRAME: (Phase.OVER, EndReason.CLEAN),
        Event.END_AT_BOUNDARY: (Phase.OVER, EndReason.RESET),
        Event.END_INSIDE_FRAME: (Phase.OVER, EndReason.RESET),
        Event.RESET_ON_READ: (Phase.OVER, EndReason.RESET),
        Event.OVER_LIMIT: (Phase.OVER, EndReason.TOO_LARGE),
        Event.CLOSE: _CLOSING,
        Event.INTERRUPTION: _INTERRUPTED,
    },
    Phase.REFUSED: {
        Event.RESET_ON_WRITE: (Phase.OVER, None),
        Event.PEER_GONE_ON_WRITE: (Phase.OVER, None),
        Event.CLOSE: _CLOSING,
        Event.INTERRUPTION: _INTERRUPTED,
    },
    Phase.OVER: {
        Event.CLOSE: _CLOSING,
    },
    Phase.CLOSING: {
        Event.RESET_ON_WRITE: (Phase.CLOSING, None),
        Event.PEER_GONE_ON_WRITE: (Phase.CLOSING, None),
        Event.INTERRUPTION: (Phase.CLOSING, None),
        Event.LINGER_OVER: (Phase.CLOSED, None),
        Event.ALL_SENT: (Phase.CLOSED, None),
    },
    Phase.CLOSED: {},
}

_ENDS_WRITING = frozenset(
    {
        Event.RESET_ON_READ,
        Event.RESET_ON_WRITE,
        Event.PEER_GONE_ON_WRITE,
        Event.OVER_LIMIT,
        Event.CLOSE,
        Event.INTERRUPTION,
    }
)
# After these nothing is sent any more, not even the close frame (SES-36).
_ENDS_SENDING = _ENDS_WRITING - {Event.OVER_LIMIT, Event.CLOSE}


class SessionState:
    """The state of a session in the table.

    ``undelivered`` is the queue of messages that arrived whole and were not read yet;
    the session fills and empties it.
    """

    __slots__ = ("_undelivered", "end", "phase", "read_error", "sends", "write_error")

    def __init__(self, undelivered: Sized) -> None:
        self._undelivered = undelivered
        self.phase = Phase.OPEN
        self.end: EndReason | None = None
        """The end that was detected; readers reach it behind the undelivered messages."""
        self.read_error: IPCChannelError | None = None
        """The error that a reader gets at the end; None at an orderly end."""
        self.write_error: IPCChannelError | None = None
        """The first error that ended writing; None while writing. See :meth:`refusal`."""
        self.sends = True
        """Whether accepted output and the close frame may still be sent (SES-36)."""

    @property
    def end_reason(self) -> EndReason | None:
        """The end that a reader has reached (SES-6)."""
        return None if self._undelivered else self.end

    @property
    def error(self) -> IPCChannelError | None:
        """The error that ended reading or, if none did, writing."""
        reached = None if self._undelivered else self.read_error
        return reached or self.write_error

    @property
    def closed(self) -> bool:
        """Whether everything was freed."""
        return self.phase is Phase.CLOSED

    def on(self, event: Event, error: IPCChannelError | None = None) -> None:
        """Follow the table; ``error`` is what ``event`` makes reads or writes raise."""
        row = TABLE[self.phase].get(event)
        if row is None:
            return
        phase, end = row
        # Each of these steps may run twice: if a signal handler raises in between, the
        # phase is unchanged, and the same event is reported again.
        if event in _ENDS_SENDING:
            self.sends = False
        if event in _ENDS_WRITING and self.write_error is None:
            self.write_error = error
        if event is Event.CLOSE and self._undelivered:
            self.end, self.read_error = EndReason.LOCAL, None
        elif end is not None and self.end is None:
            self.read_error = self._error_of(event, end, error)
            self.end = end
        self.phase = phase

    @staticmethod
    def _error_of(
        event: Event, end: EndReason, error: IPCChannelError | None
    ) -> IPCChannelError | None:
        """Return what a reader gets at ``end``."""
        if event is Event.CLOSE:
            return None
        if end is EndReason.RESET and event is not Event.RESET_ON_READ:
            return ResetError("connection reset, as reported by a write")
        return error

    def check_write(self) -> None:
        """Raise the error of a write, unless the session may still be written to."""
        if self.write_error is not None:
            raise self.refusal()

    def refusal(self) -> IPCChannelError:
        """Return what a write raises once :attr:`write_error` is set."""
        if self.phase in (Phase.CLOSING, Phase.CLOSED):
            return ended_here()
        assert self.write_error is not None
        return self.write_error.copy_to_raise()
