"""Supervised helpers for tests of programs without asyncio."""

from __future__ import annotations

import contextlib
from typing import Any

from ipc_channel import SupervisorEvent
from ipc_channel.sync import Helper, IPCChannel, IPCChannelError, Supervisor
from supervising import NO_PAUSE, check_story


def read_all(channel: IPCChannel) -> list[bytes]:
    """Say ``go``, and return the messages of a session, however it ends."""
    messages: list[bytes] = []
    with contextlib.suppress(IPCChannelError):
        channel.write(b"go")
    with contextlib.suppress(IPCChannelError):
        messages.extend(channel)
    return messages


def supervise(
    helper: Helper, **options: Any
) -> tuple[list[list[bytes]], list[SupervisorEvent]]:
    """Read all that a helper sends in each of its lives; return that, and the events."""
    events: list[SupervisorEvent] = []
    options = {"backoff": NO_PAUSE, **options}
    with Supervisor(helper, on_event=events.append, **options) as supervisor:
        lives = [read_all(channel) for channel in supervisor]
    check_story(events)
    return lives, events
