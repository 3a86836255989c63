"""A helper's start, stop or block is cancelled, after each callback of the loop there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from counting import LOOPS, cancelled_after
from descriptors import open_descriptors
from helper_programs import BEHAVES, DIES, IGNORES
from ipc_channel import Helper, HelperError, make_ipc_channel
from ipc_channel.helper.lifecycle import Limits
from process_tree import children
from raw import PATIENCE

HELPERS = {"behaves": BEHAVES, "ignores": IGNORES, "dies": DIES}
Act = Callable[[Helper], Coroutine[Any, Any, Any]]


async def again(helper: Helper) -> None:
    """Start the helper on the same channel, and see that it was left as new."""
    try:
        channel = await helper.start()
    except HelperError as error:
        assert helper.command == DIES, error
    else:
        if helper.command == IGNORES:
            assert await channel.read() == b"deaf"


def make(transport: Any, kind: str, grace: float) -> Helper:
    channel = make_ipc_channel(transport=transport)
    return Helper(HELPERS[kind], channel, timeout=PATIENCE, grace=grace)


def assert_nothing_is_left() -> None:
    assert children() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def cancelled_start(transport: Any, kind: str, count: int) -> bool:
    helper = make(transport, kind, PATIENCE)  # it waits for nothing
    went = await cancelled_after(count, helper.start)
    helper._life.limits = Limits(
        PATIENCE, 0.01
    )  # what is left, or starts now, is to be stopped
    if went:
        assert_nothing_is_left()
        await again(helper)
    await helper.stop()
    return went


async def cancelled_stop(transport: Any, kind: str, count: int) -> bool:
    helper = make(transport, kind, 0.01)
    await helper.start()
    return await cancelled_after(count, helper.stop)


async def cancelled_block(transport: Any, kind: str, count: int) -> bool:
    helper = make(transport, kind, 0.01)

    async def block() -> None:
        async with helper:
            pass

    return await cancelled_after(count, block)


ACTS = {
    f"{kind}-{act.__name__}": (kind, act)
    for kind in HELPERS
    for act in (cancelled_start, cancelled_stop, cancelled_block)
    if kind != "dies" or act is not cancelled_stop  # it is never started
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ACTS)
def test_nothing_is_left_wherever_it_is_cancelled(
    transport: Any, loop: str, name: str
) -> None:
    kind, act = ACTS[name]

    async def once(count: int) -> bool:
        went = await act(transport, kind, count)
        assert_nothing_is_left()
        return went

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(once(0))
        before = open_descriptors()
        count = 1
        while runner.run(once(count)):
            assert open_descriptors() == before
            count += 1
    assert count > 3, "there was hardly anything to cancel"
