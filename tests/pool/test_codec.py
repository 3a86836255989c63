"""Pools that take and return objects, with asyncio and in threads."""

from __future__ import annotations

import json
import sys

import pytest

from ipc_channel import JSON, BadAnswerError, Codec, Helper, HelperPool, sync

DOUBLES = """
from ipc_channel import JSON, run_helper, serve

async def main(channel):
    await serve(channel, lambda number: 2 * number, codec=JSON)

run_helper(main)
"""


def helper() -> Helper:
    return Helper([sys.executable, "-c", DOUBLES])


async def test_objects_go_through_a_pool() -> None:
    async with HelperPool(helper, size=1, codec=JSON) as pool:
        assert await pool.call([1], 60) == [1, 1]
        assert [one async for one in pool.map([1, 2])] == [2, 4]


async def test_what_cannot_be_encoded_takes_no_helper() -> None:
    async with HelperPool(helper, size=1, codec=JSON) as pool:
        with pytest.raises(TypeError, match="cannot encode the request, a set"):
            await pool.call({1}, idempotent=True)
        counters = pool.counters
        assert (counters.answered, counters.failed) == (0, 0)
    async with HelperPool(helper, size=1, codec=Codec(json.dumps, json.loads)) as pool:  # type: ignore[arg-type]
        with pytest.raises(
            TypeError, match="encode of the codec has returned str for the req"
        ):
            await pool.call(1)


async def test_an_answer_that_cannot_be_decoded_is_an_answer() -> None:
    """It is not asked for again."""
    codec = Codec(JSON.encode, lambda data: data.decode("ascii"))
    async with HelperPool(helper, size=1, codec=codec) as pool:
        with pytest.raises(BadAnswerError):
            await pool.call("ä", idempotent=True)
        counters = pool.counters
        assert (counters.answered, counters.failed, counters.retried) == (1, 0, 0)


def test_objects_go_through_a_blocking_pool() -> None:
    with sync.HelperPool(helper, size=1, codec=JSON) as pool:
        assert pool.call([1], 60) == [1, 1]
        assert list(pool.map([1, 2])) == [2, 4]
        with pytest.raises(TypeError, match="cannot encode"):
            pool.call({1})


def test_a_codec_is_checked() -> None:
    with pytest.raises(TypeError, match=r"such as ipc_channel\.JSON, not str"):
        HelperPool(helper, codec="JSON")  # type: ignore[arg-type]
