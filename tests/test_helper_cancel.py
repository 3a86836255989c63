"""Helpers whose start, stop or block is cancelled, after each callback of the loop there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from helper_programs import BEHAVES, DIES, IGNORES
from ipc_channel import Helper, HelperError, make_ipc_channel
from raw import PATIENCE, open_descriptors


class Counting:
    """A loop that cancels a task after a number of callbacks have run in it.

    That is each point at which a task can be cancelled, and none of them depends on how
    fast the machine is.
    """

    _left = 0
    _task: asyncio.Task[Any] | None = None

    def cancel_after(self, count: int, task: asyncio.Task[Any]) -> None:
        self._left, self._task = count, task

    def disarm(self) -> None:
        self._task = None

    def _counted(self, callback: Callable[..., Any], *args: Any) -> None:
        try:
            callback(*args)
        finally:
            self._left -= 1
            if self._left == 0 and self._task is not None:
                self._task.cancel()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_soon(self._counted, callback, *args, context=context)  # type: ignore[misc]

    def call_at(self, when: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_at(when, self._counted, callback, *args, context=context)  # type: ignore[misc]

    def call_later(self, delay: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_later(delay, self._counted, callback, *args, context=context)  # type: ignore[misc]

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        super().add_reader(fd, self._counted, callback, *args)  # type: ignore[misc]

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> None:
        super().add_writer(fd, self._counted, callback, *args)  # type: ignore[misc]


def counting(base: type[Any]) -> Any:
    """Return a loop of the kind ``base`` that counts."""
    return type(base.__name__, (Counting, base), {})


LOOPS = {
    "asyncio": counting(asyncio.SelectorEventLoop),
    "uvloop": counting(uvloop.Loop),
}
HELPERS = {"behaves": BEHAVES, "ignores": IGNORES, "dies": DIES}
Act = Callable[[Helper], Coroutine[Any, Any, Any]]


def children() -> list[int]:
    """Return the processes that were started here and are not reaped."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return sorted(found)


async def cancelled_after(count: int, act: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    """Run ``act``; return whether it was cancelled, ``count`` callbacks after its begin."""
    loop: Any = asyncio.get_running_loop()

    async def armed() -> None:
        loop.cancel_after(count, asyncio.current_task())
        await act()

    try:
        await loop.create_task(armed())
    except HelperError:
        return False
    except asyncio.CancelledError:
        return True
    finally:
        loop.disarm()
    return False


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
    helper._grace = 0.01  # what is left, or starts now, is to be stopped
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
