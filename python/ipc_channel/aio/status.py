"""The status of a channel."""

from __future__ import annotations

import enum


class Status(enum.Enum):
    """The state of a channel, which goes on from one session to the next::

        IDLE ──connect──> CONNECTING ──connected──> PENDING ──connect returns──> CONNECTED
          ^                   │                                                     │
          └──timed out────────┘        (its session may have ended)  <──connect─────┘

    ``close`` leads from every state to CLOSING, and from there to CLOSED.
    """

    IDLE = enum.auto()
    """There is no session, or the last session has been freed."""
    CONNECTING = enum.auto()
    PENDING = enum.auto()
    """A session has begun, but no ``connect`` has reported it yet."""
    CONNECTED = enum.auto()
    """``connect`` has reported the session, which may have ended since."""
    CLOSING = enum.auto()
    CLOSED = enum.auto()
    """Everything was freed."""
