"""The errors of a channel, or of a session, that this end has closed."""

from __future__ import annotations

from ipc_channel.errors import ChannelClosedError


def channel_closed() -> ChannelClosedError:
    """Return the error of ``connect`` and ``write`` once the channel was closed."""
    return ChannelClosedError(
        "the channel was closed: make a new one"
        " (disconnect ends a session and keeps the channel)"
    )


def ended_here() -> ChannelClosedError:
    """Return the error of a write once this end has ended the session."""
    return ChannelClosedError(
        "this end has ended the session, and sends nothing more: after disconnect or abort"
        " call connect for the next session, after close make a new channel"
    )
