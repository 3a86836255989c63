"""Calls that are cancelled, time out, and lose their helpers, all at once."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import pytest

import raw
from ipc_channel import CallTimeoutError, HelperPool, UnansweredError
from pooling import pool


async def call(helpers: HelperPool, chance: random.Random, number: int) -> None:
    """Make a call, which may be cancelled at any moment; check its answer."""
    large = b"x" * 300_000
    payload = chance.choices([b"sleep 0.002", b"%d" % number, large], [30, 69, 1])[0]
    timeout = chance.choice([None, raw.PATIENCE, 0.002])
    work = helpers.call(payload, timeout, idempotent=chance.random() < 0.5)
    calling = asyncio.create_task(work)
    if chance.random() < 0.4:
        for _ in range(1 + chance.randrange(40)):  # so that it has begun
            await asyncio.sleep(0)
        calling.cancel()
    try:
        answer = await calling
    except (asyncio.CancelledError, CallTimeoutError, UnansweredError):
        return
    is_right = answer.partition(b" ")[2] == payload
    assert is_right


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_left_of_calls_that_were_cut_short(seed: int) -> None:
    chance = random.Random(seed)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(context)
    )
    async with pool(2, calls_per_helper=2, recycle_calls=100) as helpers:
        await helpers.call(b"x")
        async with asyncio.TaskGroup() as group:
            calls: set[asyncio.Task[None]] = set()
            for number in range(1000):
                if len(calls) >= 200:
                    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                calls.add(group.create_task(call(helpers, chance, number)))
                calls = {one for one in calls if not one.done()}
                if number % 300 == 150:
                    pids = [one.pid for one in helpers.counters.helpers if one.pid]
                    for pid in chance.sample(pids, min(1, len(pids))):
                        os.kill(pid, signal.SIGKILL)
                if number % 400 == 200:
                    group.create_task(helpers.resize(chance.choice([1, 2, 3])))
        await asyncio.wait_for(helpers.drain(), raw.PATIENCE)
        counters = helpers.counters
        assert counters.waiting == counters.in_flight == 0
        assert [one.in_flight for one in counters.helpers] == [0] * helpers.size
        assert counters.done == 1001
        assert (await helpers.call(b"x")).endswith(b" x")
    assert complaints == []
