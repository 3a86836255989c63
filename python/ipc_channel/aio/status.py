"""Where a channel is in its life."""

from __future__ import annotations

import enum


class Status(enum.Enum):
    """Where a channel is in its life, which goes from session to session::

        IDLE ──connect──> CONNECTING ──a peer came──> PENDING ──connect returns──> CONNECTED
          ^                   │                                                     │
          └──nobody came──────┘        (its session may have ended)  <──connect─────┘

    ``close`` leads from each of them to CLOSING, and from there to CLOSED.
    """

    IDLE = enum.auto()
    """There is no session, or nothing is left of the last one but its end."""
    CONNECTING = enum.auto()
    PENDING = enum.auto()
    """A session has begun that no ``connect`` has returned yet."""
    CONNECTED = enum.auto()
    """``connect`` has returned the session, which may have ended since."""
    CLOSING = enum.auto()
    CLOSED = enum.auto()
    """Everything was freed."""
