"""Pauses between attempts, and waits until a deadline, in terms of the loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

SHORTEST_SLEEP = 0.001  # seconds: the shortest sleep that every loop honours
# Extra loop iterations after the deadline: however late the loop was woken, it polls its
# descriptors in each of them.
_EXTRA_ITERATIONS = 5


def backoff(loop: asyncio.AbstractEventLoop, deadline: float) -> Iterator[float]:
    """Yield the pauses between attempts, in seconds: 1 ms, doubling to 20 ms.

    The last pause ends at ``deadline``, in terms of ``loop.time()``, or within 1 ms.

    An attempt takes microseconds, so the first pauses can be short. Pauses of 20 ms
    keep a long wait cheap, and still find a peer within 25 ms.
    """
    least = pause = 0.001  # with less, uvloop does not pause at all
    while (remaining := deadline - loop.time()) > 0:
        yield max(min(pause, remaining), least)
        pause = min(2 * pause, 0.02)


async def wait_until(deadline: float, task: asyncio.Task[None]) -> None:
    """Wait for ``task`` until ``deadline``, and for its last attempt at that moment.

    Loops may wake slightly early.
    """
    loop = asyncio.get_running_loop()
    while not task.done() and (remaining := deadline - loop.time()) > 0:
        # Rounded, because the difference of two large floats can be slightly too large.
        await asyncio.wait({task}, timeout=max(round(remaining, 6), SHORTEST_SLEEP))
    for _ in range(_EXTRA_ITERATIONS):
        if not task.done():
            await asyncio.wait({task}, timeout=SHORTEST_SLEEP)
