"""Pauses between tries, and waits until a deadline, in terms of the loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

SHORTEST_SLEEP = 0.001  # seconds: the shortest that every loop honours
# Iterations after the deadline, in each of which the loop looks at its descriptors,
# however late it was woken.
_EXTRA_ITERATIONS = 5


def backoff(loop: asyncio.AbstractEventLoop, deadline: float) -> Iterator[float]:
    """Yield the pauses between tries, in seconds: 1 ms, doubling to 20 ms.

    The last ends at ``deadline``, in terms of ``loop.time()``, or within 1 ms.

    A try costs microseconds, so that the first ones may come quickly; 20 ms
    keep a long wait cheap and still meet a peer within 25 ms.
    """
    least = pause = 0.001  # with less, uvloop does not pause at all
    while (remaining := deadline - loop.time()) > 0:
        yield max(min(pause, remaining), least)
        pause = min(2 * pause, 0.02)


async def wait_until(deadline: float, task: asyncio.Task[None]) -> None:
    """Wait for ``task`` until ``deadline``, and for the look that it takes just then.

    Loops may wake a moment early.
    """
    loop = asyncio.get_running_loop()
    while not task.done() and (remaining := deadline - loop.time()) > 0:
        # Rounded, since the difference of two large numbers is a little more than it is.
        await asyncio.wait({task}, timeout=max(round(remaining, 6), SHORTEST_SLEEP))
    for _ in range(_EXTRA_ITERATIONS):
        if not task.done():
            await asyncio.wait({task}, timeout=SHORTEST_SLEEP)
