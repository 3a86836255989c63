"""The errors of a channel, or of a session, that cannot be used, or not any more."""

from __future__ import annotations

from ipc_channel.errors import ChannelClosedError, NotConnectedError


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


def no_messages(session: object) -> Exception:
    """Return the error of ``read`` and ``write`` before a session, or if it has requests."""
    if session is None:
        return NotConnectedError("the channel is not connected; call connect first")
    return RuntimeError(
        "all messages of this session belong to its RequestChannel: use that one"
    )
