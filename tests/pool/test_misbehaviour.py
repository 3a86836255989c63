"""A pool survives what is wrong with its helpers, its callbacks and its makers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import sys
from typing import Any

import pytest

import raw
from ipc_channel import (
    BadMessageError,
    CallTimeoutError,
    Helper,
    HelperError,
    HelperPool,
    SupervisorEvent,
    UnansweredError,
)
from pooling import COMMAND, connected, pid_of, pool, quiet

# Sends what is no message of the requests layer once it has got a request.
WITHOUT_REQUESTS = """
from ipc_channel import run_helper

async def main(channel):
    async for message in channel:
        await channel.write(b"no answer")

run_helper(main)
"""
# Connects, closes, and ends with status 0.
SHORT = """
from ipc_channel import run_helper

async def main(channel):
    pass

run_helper(main)
"""


def helper(program: str) -> Helper:
    command = [sys.executable, "-c", program]
    return Helper(command, stderr="discard", grace=0.2, timeout=raw.PATIENCE)


async def test_a_helper_without_requests_is_lost() -> None:
    options: dict[str, Any] = {"restarts": 1, "backoff": (0, 0.01), "retries": 0}
    events: list[SupervisorEvent] = []
    async with HelperPool(
        lambda: helper(WITHOUT_REQUESTS),
        size=1,
        on_event=events.append,
        **options,
    ) as helpers:
        for _ in range(2):
            with pytest.raises(BadMessageError, match="no message of the requests layer"):
                await helpers.call(b"x", idempotent=True)
        with pytest.raises(HelperError, match="Both ends must use requests") as caught:
            await helpers.call(b"x")
        assert "no more restarts after 1" in str(caught.value)
        kinds = [event.kind for event in events]
        assert kinds.count("lost") == helpers.counters.helpers[0].lost == 2


async def test_an_idempotent_call_leaves_a_helper_without_requests() -> None:
    makers = [lambda: helper(WITHOUT_REQUESTS), quiet]
    options: dict[str, Any] = {"restarts": None, "backoff": (0, 0.01)}
    async with HelperPool(*makers, size=2, **options) as helpers:
        for _ in range(5):
            assert (await helpers.call(b"x", idempotent=True)).endswith(b" x")


async def test_helpers_that_finish_at_once_have_a_limit() -> None:
    options: dict[str, Any] = {"restarts": 3, "backoff": (0, 0.01)}
    events: list[SupervisorEvent] = []
    async with HelperPool(
        lambda: helper(SHORT),
        size=1,
        on_event=events.append,
        **options,
    ) as helpers:
        with pytest.raises(HelperError, match="no more restarts after 3"):
            while True:
                with contextlib.suppress(UnansweredError):  # it was about to close
                    await helpers.call(b"x")
    starts = [event.attempt for event in events if event.kind == "starting"]
    assert starts == [1, 2, 3, 4]


async def test_callbacks_that_raise_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    async with pool(1, on_progress=fail, on_event=fail) as helpers:
        assert (await helpers.call(b"x")).endswith(b" x")
        assert helpers.counters.answered == 1
    texts = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "on_progress failed" in texts
    assert any(text.startswith("on_event failed") for text in texts)


async def test_a_maker_that_raises_leaves_the_other_places() -> None:
    def fail() -> Helper:
        raise ZeroDivisionError("made of nothing")

    async with HelperPool(fail, quiet, size=2) as helpers:
        assert (await helpers.call(b"x")).endswith(b" x")
    async with HelperPool(fail, size=2) as helpers:
        with pytest.raises(HelperError, match="cannot be made: made of nothing") as caught:
            await helpers.call(b"x")
        cause = caught.value.__cause__
        assert cause is not None
        assert isinstance(cause.__cause__, ZeroDivisionError)


async def test_a_maker_that_returns_the_same_helper_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The second place stays empty, and the log says why."""
    same = Helper(COMMAND)
    async with HelperPool(lambda: same, size=2) as helpers:
        assert await helpers.call(b"x")
        await raw.eventually(lambda: "has to return a new Helper each time" in caplog.text)
        assert [one.name for one in helpers.counters.helpers] == [str(same), ""]


async def test_a_maker_may_have_too_few_descriptors_for_a_while() -> None:
    failures = 3

    def make() -> Helper:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return quiet()

    async with HelperPool(make, size=1, backoff=(0, 0.01)) as helpers:
        assert (await helpers.call(b"x")).endswith(b" x")
    failures = 10
    async with HelperPool(make, size=1, restarts=3, backoff=(0, 0.01)) as helpers:
        with pytest.raises(HelperError, match=r"no more restarts after 3 .*too many open"):
            await helpers.call(b"x")
    failures = 10
    async with HelperPool(make, size=1, restarts=None, backoff=(1000, 1000)) as helpers:
        await raw.eventually(lambda: failures < 10)  # stop does not wait for the next try


async def test_a_helper_that_never_connects_does_not_hold_up_a_resize() -> None:
    def dead() -> Helper:
        return Helper([sys.executable, "-c", ""], stderr="discard")

    options: dict[str, Any] = {"restarts": None, "backoff": (0, 0.01)}
    async with HelperPool(quiet, dead, size=2, **options) as helpers:
        await helpers.call(b"x")
        await asyncio.wait_for(helpers.resize(1), raw.PATIENCE)
        assert (await helpers.call(b"x")).endswith(b" x")


async def test_a_smaller_pool_keeps_the_places_that_have_helpers() -> None:
    def fail() -> Helper:
        raise ZeroDivisionError

    async with HelperPool(fail, quiet, size=2) as helpers:
        pid = pid_of(await helpers.call(b"x"))
        await helpers.resize(1)
        assert pid_of(await helpers.call(b"x")) == pid


async def test_sizes_that_change_at_once() -> None:
    async with pool(2) as helpers:
        await connected(helpers, 2)
        sizes = [4, 1, 3, 1, 2, 5, 1]
        await asyncio.gather(*map(helpers.resize, sizes))
        assert helpers.size == len(helpers.counters.helpers) == 1
        assert (await helpers.call(b"x")).endswith(b" x")
        resizing = [asyncio.create_task(helpers.resize(size)) for size in (3, 1)]
        await asyncio.sleep(0)
        await helpers.stop()
        await asyncio.gather(*resizing, return_exceptions=True)
        with pytest.raises(HelperError, match="was stopped"):
            await helpers.resize(2)


async def test_drain_ends_when_the_last_call_that_waits_is_cancelled() -> None:
    async with pool(1) as helpers:
        call = asyncio.create_task(helpers.call(b"x"))
        await asyncio.sleep(0)
        assert helpers.counters.waiting == 1
        draining = asyncio.create_task(helpers.drain())
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait_for(draining, raw.PATIENCE)


async def test_a_call_that_may_go_nowhere_does_not_hold_up_the_others() -> None:
    """It waits for the other place, which has no helper yet."""

    def dead() -> Helper:
        return Helper([sys.executable, "-c", "input()"], stderr="discard", timeout=1000)

    async with HelperPool(
        quiet, dead, size=2, restarts=None, backoff=(0, 0.01), calls_per_helper=1
    ) as helpers:
        await helpers.call(b"x")
        retried = asyncio.create_task(helpers.call(b"sleep 1000", 0.01, idempotent=True))
        await raw.eventually(lambda: helpers.counters.waiting == 1)
        assert (await helpers.call(b"x")).endswith(b" x")
        retried.cancel()
        await asyncio.wait({retried})


async def test_misuse_is_refused_before_the_block() -> None:
    for name in ("on_event", "on_progress"):
        wrong: dict[str, Any] = {name: 1}
        with pytest.raises(TypeError, match=f"{name} is a callable, not int"):
            HelperPool(COMMAND, **wrong)
    with pytest.raises(ValueError, match="restarts is -1"):
        HelperPool(COMMAND, restarts=-1)
    with pytest.raises(ValueError, match="its first pause exceeds"):
        HelperPool(COMMAND, backoff=(2, 1))


async def test_calls_go_round_a_helper_that_hangs() -> None:
    """Though no call waits for it any more."""
    async with pool(2) as helpers:
        await connected(helpers, 2)
        with pytest.raises(CallTimeoutError):
            await helpers.call(b"hang", 0.05)
        for _ in range(3):
            assert (await helpers.call(b"x", raw.PATIENCE)).endswith(b" x")
