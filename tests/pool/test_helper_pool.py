"""Pools of helpers: which one gets a call, losses, retries, limits and sizes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

import raw
from ipc_channel import (
    CallTimeoutError,
    Helper,
    HelperError,
    HelperPool,
    RequestError,
    UnansweredError,
    WrongLoopError,
)
from pooling import COMMAND, connected, pid_of, pool


async def test_calls_go_to_the_helper_with_the_fewest() -> None:
    async with pool(3, calls_per_helper=2) as helpers:
        await connected(helpers, 3)
        calls = [asyncio.create_task(helpers.call(b"sleep 0.2")) for _ in range(6)]
        await asyncio.sleep(0)
        assert [one.in_flight for one in helpers.counters.helpers] == [2, 2, 2]
        late = asyncio.create_task(helpers.call(b"x"))
        await asyncio.sleep(0)
        assert helpers.counters.waiting == 1
        answers = await asyncio.gather(*calls, late)
        assert len(set(map(pid_of, answers))) == 3
        assert helpers.counters.in_flight == helpers.counters.waiting == 0


async def test_helpers_take_turns_at_calls_that_come_one_by_one() -> None:
    async with pool(3) as helpers:
        pids = await connected(helpers, 3)
        assert sorted([pid_of(await helpers.call(b"x")) for _ in pids]) == pids


async def test_an_error_of_a_helper_is_an_answer() -> None:
    async with pool(1) as helpers:
        with pytest.raises(RequestError, match="told to") as caught:
            await helpers.call(b"fail", idempotent=True)
        assert caught.value.code == "told"
        counters = helpers.counters
        assert (counters.answered, counters.failed, counters.retried) == (1, 0, 0)


async def test_a_call_fails_if_its_helper_is_lost() -> None:
    async with pool(1) as helpers:
        with pytest.raises(
            UnansweredError, match=r"^helper .* was lost: the session ended"
        ):
            await helpers.call(b"die")
        assert (await helpers.call(b"x")).endswith(b" x")
        counters = helpers.counters
        assert (counters.answered, counters.failed, counters.retried) == (1, 1, 0)
        assert counters.helpers[0].lost == 1


async def test_an_idempotent_call_goes_to_another_helper(tmp_path: Any) -> None:
    async with pool(2) as helpers:
        payload = f"once {tmp_path / 'file'}".encode()
        assert await helpers.call(payload, idempotent=True) == b"again"
        counters = helpers.counters
        assert (counters.answered, counters.failed, counters.retried) == (1, 0, 1)


async def test_retries_have_an_end() -> None:
    async with pool(2, retries=3) as helpers:
        with pytest.raises(
            UnansweredError, match=r"was lost \(sent 4 times\): the session"
        ):
            await helpers.call(b"die", idempotent=True)
        assert helpers.counters.retried == 3
        await raw.eventually(lambda: sum(one.lost for one in helpers.counters.helpers) == 4)


async def test_a_helper_that_hangs_is_replaced() -> None:
    async with pool(2, stuck_after=0.1, retries=1) as helpers:
        with pytest.raises(CallTimeoutError):
            await helpers.call(b"hang", 0.05, idempotent=True)
        await raw.eventually(
            lambda: [one.lost for one in helpers.counters.helpers] == [1, 1]
        )
        assert (await helpers.call(b"x")).endswith(b" x")


async def test_every_place_is_empty_after_too_many_losses() -> None:
    async with pool(1, restarts=1) as helpers:
        for _ in range(2):
            with pytest.raises(UnansweredError):
                await helpers.call(b"die")
        with pytest.raises(HelperError, match="no helper of the pool is left"):
            await helpers.call(b"x")


async def test_a_command_that_does_not_exist_ends_waiting_calls() -> None:
    options: dict[str, Any] = {"size": 2, "restarts": 0, "backoff": (0, 0)}
    async with HelperPool(["/nowhere/helper"], **options) as helpers:
        calls = [helpers.call(b"x") for _ in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in results} == {HelperError}
        assert "/nowhere/helper" in str(results[0])


async def test_helpers_are_recycled_after_their_calls() -> None:
    async with pool(1, recycle_calls=10, calls_per_helper=3) as helpers:
        answers = [answer async for answer in helpers.map([b"x"] * 35)]
        counts = [answers.count(one) for one in set(answers)]
        assert len(counts) >= 3
        assert max(counts) <= 10 + 2  # those that were on the way
        assert helpers.counters.helpers[0].lost == 0
        assert helpers.counters.helpers[0].recycled >= 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_helpers_are_recycled_when_they_have_grown() -> None:
    async with pool(1, recycle_memory=200 * 2**20) as helpers:
        before = pid_of(await helpers.call(b"x"))
        await helpers.call(b"grow %d" % (250 * 2**20))

        async def has_changed() -> bool:
            return pid_of(await helpers.call(b"x")) != before

        while not await has_changed():
            pass
        assert helpers.counters.helpers[0].recycled == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_limit_that_each_new_helper_exceeds_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with pool(1, recycle_memory=4096) as helpers:
        pid = pid_of(await helpers.call(b"x"))
        (warning,) = caplog.messages
        assert warning.startswith(f"a new helper (process {pid}) uses ")
        assert warning.endswith(
            "recycle_memory=4096: it is replaced at once; choose a higher limit"
        )
        assert pid_of(await helpers.call(b"x")) != pid


async def test_the_size_changes() -> None:
    async with pool(1) as helpers:
        (first,) = await connected(helpers, 1)
        await helpers.resize(3)
        assert first in await connected(helpers, 3)
        slow = asyncio.create_task(helpers.call(b"sleep 0.1"))
        await helpers.resize(1)
        assert (await slow).endswith(b"sleep 0.1")
        assert len(helpers.counters.helpers) == helpers.size == 1
        assert await connected(helpers, 1)


async def test_a_call_is_cancelled_while_it_waits_or_is_in_flight() -> None:
    async with pool(1, calls_per_helper=1) as helpers:
        await helpers.call(b"x")
        first = asyncio.create_task(helpers.call(b"sleep 1000"))
        second = asyncio.create_task(helpers.call(b"y"))
        third = asyncio.create_task(helpers.call(b"z"))
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        assert (await third).endswith(b" z")
        await asyncio.wait({first, second})
        assert helpers.counters.failed == 2
        assert helpers.counters.in_flight == 0


async def test_stop_fails_the_calls_that_are_left() -> None:
    async with pool(1, calls_per_helper=1) as helpers:
        await helpers.call(b"x")
        calls = [asyncio.create_task(helpers.call(b"sleep 1000")) for _ in range(3)]
        await asyncio.sleep(0)
        await helpers.stop()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, Exception) for one in results), results
        with pytest.raises(HelperError, match="was stopped"):
            await helpers.call(b"x")


async def test_progress_and_events_are_told() -> None:
    told: list[int] = []
    events: list[str] = []
    options: dict[str, Any] = {
        "on_progress": lambda counters: told.append(counters.done),
        "on_event": lambda event: events.append(event.kind),
    }
    async with pool(1, **options) as helpers:
        await asyncio.gather(*(helpers.call(b"x") for _ in range(10)))
    assert told == list(range(1, 11))
    assert events == ["starting", "connected", "stopped"]


async def test_several_commands_take_turns() -> None:
    made: list[str] = []

    def make(name: str) -> Callable[[], Helper]:
        def helper() -> Helper:
            made.append(name)
            return Helper(COMMAND, name=name)

        return helper

    async with HelperPool(make("a"), make("b"), size=3) as helpers:
        await connected(helpers, 3)
        assert [one.name[0] for one in helpers.counters.helpers] == ["a", "b", "a"]


async def test_misuse_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a command"):
        HelperPool()
    with pytest.raises(TypeError, match="not str"):
        HelperPool("./helper")
    for name in ("size", "calls_per_helper", "recycle_calls", "recycle_memory"):
        with pytest.raises(ValueError, match=f"{name} is 0, but must be at least 1"):
            wrong: dict[str, Any] = {name: 0}
            HelperPool(COMMAND, **wrong)
    with pytest.raises(ValueError, match="retries is -1"):
        HelperPool(COMMAND, retries=-1)
    with pytest.raises(ValueError, match="stuck_after is -1"):
        HelperPool(COMMAND, stuck_after=-1)
    with pytest.raises(HelperError, match="not open"):
        await HelperPool(COMMAND).call(b"x")
    async with pool(1) as helpers:
        with pytest.raises(TypeError, match="not str"):
            await helpers.call("text")  # type: ignore[arg-type]
        with pytest.raises(HelperError, match="entered already"):
            await helpers.__aenter__()
        with pytest.raises(
            WrongLoopError, match="the pool was entered in an event loop other"
        ):
            await asyncio.to_thread(asyncio.run, helpers.call(b"x"))
        assert helpers.counters.in_flight == 0
