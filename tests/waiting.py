"""Moments that tests wait for and that a channel does not report."""

from __future__ import annotations

import asyncio
import select
import sys
from typing import Any

from ipc_channel import IPCChannelClient
from raw import eventually

INPUT, ROOM = 1, 4  # POLLIN and POLLOUT, which Windows has not


async def until_blocked(channel: IPCChannelClient) -> None:
    """Wait until ``channel`` has more to send than the kernel takes."""
    session = _session_of(channel)

    def is_blocked() -> bool:
        return bool(session.sender.size) and not is_ready(session.stream.out_fd(), ROOM)

    await eventually(is_blocked)


async def until_taken(channel: IPCChannelClient) -> None:
    """Wait until ``channel`` has read all that the peer has sent."""
    session = _session_of(channel)
    await eventually(lambda: not is_ready(session.stream.in_fd(), INPUT))


async def until_closing(channel: IPCChannelClient) -> None:
    """Wait until a close of ``channel`` has begun."""
    session = _session_of(channel)
    await eventually(lambda: session.closing)


async def until_connect_waits(channel: IPCChannelClient) -> None:
    """Wait until a connect of ``channel`` has looked for a peer, and waits for one."""
    inside: Any = channel
    await eventually(lambda: inside._connecting is not None and _waits(inside._connecting))


async def until_waits(task: asyncio.Task[Any]) -> None:
    """Wait until ``task`` waits for something, or is done."""
    await eventually(lambda: task.done() or _waits(task))


def _waits(task: Any) -> bool:
    return task._fut_waiter is not None


def _session_of(channel: Any) -> Any:
    assert channel.session is not None
    return channel.session


def is_ready(fd: int, events: int) -> bool:
    if sys.platform == "win32":
        watched = [[fd] if events == one else [] for one in (INPUT, ROOM)]
        return any(select.select(*watched, [], 0))
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))
