"""Many calls at once, with their answers in or out of order, and bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
)
from typing import Any, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


async def map_calls(
    call: Callable[[_T], Coroutine[Any, Any, _R]],
    items: Iterable[_T] | AsyncIterable[_T],
    ahead: int,
    *,
    ordered: bool,
    return_exceptions: bool,
) -> AsyncGenerator[_R | Exception, None]:
    """Call for each item, and yield the results; at most ``ahead`` are not yielded yet."""
    room = asyncio.Semaphore(ahead)
    tasks: set[asyncio.Task[_R]] = set()
    results: asyncio.Queue[asyncio.Task[_R] | None] = asyncio.Queue()  # None: no more items

    async def feed() -> None:
        try:
            await room.acquire()
            async for item in _each(items):
                task = asyncio.create_task(call(item))
                tasks.add(task)
                if ordered:
                    results.put_nowait(task)
                else:
                    task.add_done_callback(results.put_nowait)
                await room.acquire()
        finally:
            results.put_nowait(None)

    feeder = asyncio.create_task(feed())
    is_used_up = False
    try:
        while tasks or not is_used_up:
            task = await results.get()
            if task is None:
                is_used_up = True  # calls that are not done come later, if not ordered
                continue
            await asyncio.wait({task})
            tasks.discard(task)
            room.release()
            error = task.exception()
            if error is None:
                yield task.result()
            elif return_exceptions and isinstance(error, Exception):
                yield error
            else:
                raise error
        await feeder
    finally:
        for one in (feeder, *tasks):
            one.cancel()
        await asyncio.gather(feeder, *tasks, return_exceptions=True)


async def _each(items: Iterable[_T] | AsyncIterable[_T]) -> AsyncIterator[_T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
