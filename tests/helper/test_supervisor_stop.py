"""How a supervisor is stopped: by another task, in a pause, in a start."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from descriptors import open_descriptors
from helper_programs import BEHAVES, DIES
from ipc_channel import EndReason, Helper, Supervisor, SupervisorEvent, make_ipc_channel
from process_tree import children
from raw import PATIENCE
from supervising import check_story


def make(transport: Any, command: list[str], **options: Any) -> Helper:
    return Helper(command, make_ipc_channel(transport=transport), **options)


def kinds(events: list[SupervisorEvent]) -> list[str]:
    return [event.kind for event in events]


async def test_stop_from_another_task(transport: Any) -> None:
    """Reads end, and so does the loop."""
    helper = make(transport, BEHAVES)
    events: list[SupervisorEvent] = []
    async with Supervisor(helper, on_event=events.append) as supervisor:
        async for channel in supervisor:
            stopping = asyncio.create_task(supervisor.stop())
            assert await channel.read() is None
        assert await stopping == 0
    check_story(events)
    assert kinds(events) == ["starting", "connected", "stopped"]
    assert events[-1].end_reason is EndReason.LOCAL or events[-1].end_reason is None


async def test_stop_ends_a_pause(transport: Any) -> None:
    """The loop does not wait for the rest of it."""
    events: list[SupervisorEvent] = []
    supervisor = Supervisor(
        make(transport, DIES), backoff=(10**9, 10**9), on_event=events.append
    )
    stopping: list[asyncio.Task[int | None]] = []
    async with supervisor:

        async def stop_in_pause() -> None:
            async for event in supervisor.events():
                if event.kind == "restarting":
                    stopping.append(asyncio.create_task(supervisor.stop()))

        watching = asyncio.create_task(stop_in_pause())
        async for _ in supervisor:
            pytest.fail("nothing has connected")
        await watching
        assert await stopping[0] == 3
    check_story(events)
    assert kinds(events) == ["starting", "lost", "restarting", "stopped"]


async def test_stop_ends_a_start(transport: Any) -> None:
    """The process that has not connected yet is ended."""
    events: list[SupervisorEvent] = []
    helper = make(transport, ["/bin/sleep", "1000"], timeout=PATIENCE)
    supervisor = Supervisor(helper, on_event=events.append)
    async with supervisor:

        async def next_channel() -> None:
            with pytest.raises(StopAsyncIteration):
                await anext(supervisor)

        starting = asyncio.create_task(next_channel())
        while supervisor._process is None:
            await asyncio.sleep(0.001)
        assert await supervisor.stop() == -signal.SIGTERM
        await starting
    check_story(events)
    assert kinds(events) == ["starting", "stopped"]
    assert events[-1].result is not None
    assert children() == []


async def test_stops_at_the_same_time(transport: Any) -> None:
    """All of them return the status, and one end is told."""
    events: list[SupervisorEvent] = []
    supervisor = Supervisor(make(transport, BEHAVES), on_event=events.append)
    async with supervisor:
        await anext(supervisor)
        assert await asyncio.gather(*(supervisor.stop() for _ in range(5))) == [0] * 5
    check_story(events)
    assert kinds(events) == ["starting", "connected", "stopped"]


async def test_a_block_without_a_loop(transport: Any) -> None:
    """Nothing is started, and nothing told."""
    events: list[SupervisorEvent] = []
    before = open_descriptors()
    async with Supervisor(make(transport, BEHAVES), on_event=events.append) as supervisor:
        assert "not started" in repr(supervisor)
    assert events == []
    assert [event async for event in supervisor.events()] == []
    assert open_descriptors() == before
