"""Many calls of a pool at once: order, memory, failures, and helpers that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from typing import Any

import pytest

from ipc_channel import RequestError
from pooling import pid_of, pool


@pytest.mark.parametrize("ordered", [True, False])
async def test_map_takes_no_more_than_it_may(ordered: bool) -> None:
    taken = 0

    def payloads() -> Any:
        nonlocal taken
        for taken in range(1, 201):
            yield b"%d" % taken

    async with pool(2) as helpers:
        seen = []
        async with aclosing(helpers.map(payloads(), ahead=10, ordered=ordered)) as answers:
            async for answer in answers:
                assert isinstance(answer, bytes)
                seen.append(int(answer.split()[1]))
                assert taken <= len(seen) + 10
        assert sorted(seen) == list(range(1, 201))
        assert seen == sorted(seen) or not ordered


async def test_map_takes_what_comes_later_and_yields_meanwhile() -> None:
    """The source waits for the answer to what it has given before."""
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def payloads() -> Any:
        for number in range(5):
            yield b"%d" % number
            await asked.get()

    async with pool(1) as helpers:
        async with aclosing(helpers.map(payloads())) as answers:
            async for answer in answers:
                assert isinstance(answer, bytes)
                asked.put_nowait(answer)
        await helpers.drain()


async def test_map_raises_or_yields_failures() -> None:
    async with pool(1) as helpers:
        payloads = [b"x", b"fail", b"y"]
        results = [one async for one in helpers.map(payloads, return_exceptions=True)]
        assert isinstance(results[1], RequestError)
        assert isinstance(results[2], bytes)
        with pytest.raises(RequestError):
            async with aclosing(helpers.map(payloads)) as answers:
                async for _ in answers:
                    pass
        await helpers.drain()
        assert helpers.counters.in_flight == 0


async def test_killed_helpers_lose_nothing() -> None:
    """Each answer comes once, and in the order of the payloads."""
    async with pool(3) as helpers:
        count = 0
        async for answer in helpers.map(
            (b"%d" % one for one in range(3000)), idempotent=True
        ):
            assert isinstance(answer, bytes)
            assert answer.split()[1] == b"%d" % count
            if count % 300 == 150:
                os.kill(pid_of(answer), signal.SIGTERM if count % 600 == 150 else 9)
            count += 1
        assert count == 3000
        counters = helpers.counters
        assert (counters.answered, counters.failed) == (3000, 0)
