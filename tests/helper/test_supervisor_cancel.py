"""Supervision is cancelled, after each callback of the loop there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from counting import LOOPS, cancelled_after
from descriptors import open_descriptors
from helper_programs import BEHAVES, DIES, IGNORES, SLEEPS
from ipc_channel import Helper, Supervisor, SupervisorEvent
from process_tree import children
from raw import PATIENCE
from supervising import NO_PAUSE, check_story, read_all

HELPERS = {"behaves": BEHAVES, "ignores": IGNORES, "dies": DIES, "sleeps": SLEEPS}


async def met(supervisor: Supervisor) -> None:
    """Reach the first body."""
    channel = await anext(supervisor)
    if supervisor.helper.command == IGNORES:
        assert await channel.read() == b"deaf"


async def first(supervisor: Supervisor, armed: Callable[..., Awaitable[bool]]) -> bool:
    """Cancel the start, and what follows if it fails."""
    return await armed(lambda: anext(supervisor))


async def second(supervisor: Supervisor, armed: Callable[..., Awaitable[bool]]) -> bool:
    """Cancel what follows the loss of a helper, to the next start."""
    await met(supervisor)
    supervisor.helper.process.kill()
    return await armed(lambda: anext(supervisor))


async def replacing(supervisor: Supervisor, armed: Callable[..., Awaitable[bool]]) -> bool:
    """Cancel the replacement of a helper that is well."""
    await met(supervisor)
    return await armed(lambda: anext(supervisor))


async def body(supervisor: Supervisor, armed: Callable[..., Awaitable[bool]]) -> bool:
    """Cancel the body, and what follows it."""

    async def one_life() -> None:
        async for channel in supervisor:
            if supervisor.helper.command == BEHAVES:
                supervisor.helper.process.kill()
            await read_all(channel)
            break

    return await armed(one_life)


async def stop(supervisor: Supervisor, armed: Callable[..., Awaitable[bool]]) -> bool:
    """Cancel the stop."""
    await met(supervisor)
    return await armed(supervisor.stop)


ACTS: dict[str, Any] = {
    "first-behaves": first,
    "first-dies": first,
    "second-behaves": second,
    "second-ignores": second,
    "replacing-behaves": replacing,
    "replacing-ignores": replacing,
    "body-behaves": body,
    "stop-behaves": stop,
    "stop-ignores": stop,
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ACTS)
def test_nothing_is_left_wherever_it_is_cancelled(loop: str, name: str) -> None:
    """Afterwards the loop may go on, the block ends all, and the events are a story."""
    act, kind = ACTS[name], name.split("-")[1]

    async def once(count: int) -> bool:
        events: list[SupervisorEvent] = []
        helper = Helper(HELPERS[kind], timeout=PATIENCE, grace=0.01)
        supervisor = Supervisor(
            helper, restarts=1, backoff=NO_PAUSE, on_event=events.append
        )
        async with supervisor:
            went = await act(supervisor, lambda work: cancelled_after(count, work))
            if went and act is not stop and kind == "behaves":
                assert (await anext(supervisor)).connected
        check_story(events)
        assert children() == []
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return bool(went)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(once(0))
        before = open_descriptors()
        count = 1
        while runner.run(once(count)):
            assert open_descriptors() == before
            count += 1
    assert count > 3, "there was hardly anything to cancel"


async def test_a_pause_that_is_cancelled_goes_on_with_the_next_call() -> None:
    """The moment of the next start stays, and no other loss is told."""
    events: list[SupervisorEvent] = []
    supervisor = Supervisor(
        Helper(DIES), restarts=1, backoff=(10**9, 10**9), on_event=events.append
    )
    async with supervisor:
        waiting = asyncio.create_task(supervisor.__anext__())
        async for event in supervisor.events():
            if event.kind == "restarting":
                break
        for _ in range(3):
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            waiting = asyncio.create_task(supervisor.__anext__())
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    check_story(events)
    assert [one.kind for one in events] == ["starting", "lost", "restarting", "stopped"]


async def test_a_timeout_around_a_start() -> None:
    """The start is told to have been stopped, and the next one is another start."""
    events: list[SupervisorEvent] = []
    supervisor = Supervisor(Helper(SLEEPS, timeout=PATIENCE), on_event=events.append)
    async with supervisor:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(supervisor)
    check_story(events)
    assert [one.kind for one in events] == ["starting", "stopped"] * 2
    assert all(one.result is not None for one in events if one.kind == "stopped")


async def test_a_task_group_that_fails() -> None:
    """Its failure ends the body, and the helper with it."""
    helper = Helper(BEHAVES, grace=PATIENCE)

    reading = asyncio.Event()

    async def use() -> None:
        async with Supervisor(helper) as supervisor:
            async for channel in supervisor:
                reading.set()
                await read_all(channel)

    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.TaskGroup() as group:
            using = group.create_task(use())
            await reading.wait()
            raise KeyError
    assert len(failed.value.exceptions) == 1
    assert using.cancelled()
    assert helper.process.returncode == 0
    assert children() == []
