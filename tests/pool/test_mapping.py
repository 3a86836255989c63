"""Many calls at once, without a pool: how far ahead, and what comes at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from ipc_channel.pool.mapping import map_calls


async def test_the_source_may_end_at_the_moment_of_the_last_answer() -> None:
    """Not ordered: the last answer is not there yet when the source has ended."""
    ends = asyncio.Event()

    async def call(item: int) -> int:
        ends.set()
        return item

    async def source() -> AsyncIterator[int]:
        yield 1
        await ends.wait()

    results = map_calls(call, source(), 10, ordered=False, return_exceptions=False)
    assert [result async for result in results] == [1]


@pytest.mark.parametrize("ordered", [True, False])
async def test_no_item_is_taken_too_early(ordered: bool) -> None:
    """Each depends on the answer before it."""
    yielded = 0

    async def call(item: int) -> int:
        await asyncio.sleep(0)
        return item

    def source() -> Iterator[int]:
        for taken in range(1, 10):
            assert taken <= yielded + 3
            yield taken

    results = map_calls(call, source(), 3, ordered=ordered, return_exceptions=False)
    async for _ in results:
        yielded += 1
    assert yielded == 9


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_source_that_fails_loses_no_answer(ordered: bool) -> None:
    go_on = asyncio.Event()

    async def call(item: int) -> int:
        await go_on.wait()
        return item

    def source() -> Iterator[int]:
        yield 1
        go_on.set()
        raise ZeroDivisionError

    results = map_calls(call, source(), 3, ordered=ordered, return_exceptions=True)
    assert await anext(results) == 1
    with pytest.raises(ZeroDivisionError):
        await anext(results)


async def test_without_an_order_the_first_answer_comes_first() -> None:
    go_on = asyncio.Event()

    async def call(item: int) -> int:
        if item == 1:
            await go_on.wait()
        return item

    results = map_calls(call, [1, 2], 3, ordered=False, return_exceptions=False)
    assert await asyncio.wait_for(anext(results), 10) == 2
    go_on.set()
    assert [result async for result in results] == [1]


@pytest.mark.parametrize("ordered", [True, False])
async def test_leaving_early_has_ended_all_calls_and_takes_no_more_items(
    ordered: bool,
) -> None:
    """Once the generator is closed: each call has had the time to clean up."""
    begun: list[int] = []
    ended: list[int] = []

    async def call(item: int) -> int:
        begun.append(item)
        if item > 1:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(item)
        return item

    async def source() -> AsyncIterator[int]:
        for item in (1, 2, 3):
            yield item
        await asyncio.Event().wait()

    results = map_calls(call, source(), 9, ordered=ordered, return_exceptions=True)
    assert await anext(results) == 1
    while len(begun) < 3:
        await asyncio.sleep(0)
    await results.aclose()
    assert sorted(ended) == [2, 3]
    assert len(asyncio.all_tasks()) == 1
