"""The future of a reader: which task runs when, and that none is forgotten."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from ipc_channel.aio.waiter import Waiter, deliver, wake

WAYS: dict[str, Callable[[Waiter], object]] = {
    "deliver": deliver,
    "wake": wake,
    "cancel": lambda waiter: waiter.cancel(),
}


@pytest.mark.parametrize("way", WAYS)
async def test_everybody_who_waits_goes_on(way: str) -> None:
    waiter: Waiter = asyncio.Future()
    seen: list[int] = []
    for number in range(3):
        waiter.add_done_callback(lambda _, number=number: seen.append(number))  # type: ignore[misc]  # a default argument
    asyncio.get_running_loop().call_soon(WAYS[way], waiter)
    await asyncio.wait({waiter})
    await asyncio.sleep(0)
    assert sorted(seen) == [0, 1, 2]


@pytest.mark.parametrize("way", WAYS)
async def test_who_comes_too_late_goes_on(way: str) -> None:
    waiter: Waiter = asyncio.Future()
    WAYS[way](waiter)
    late = asyncio.Event()
    waiter.add_done_callback(lambda _: late.set())
    await asyncio.wait_for(late.wait(), 60)


@pytest.mark.parametrize("way", WAYS)
async def test_the_task_keeps_its_context(way: str) -> None:
    name = contextvars.ContextVar("name", default="outside")
    seen: list[str] = []

    async def wait(waiter: Waiter) -> None:
        name.set("inside")
        try:
            await waiter
        finally:
            seen.append(name.get())

    waiter: Waiter = asyncio.Future()
    task = asyncio.create_task(wait(waiter))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(WAYS[way], waiter)
    await asyncio.wait({task})
    assert seen == ["inside"]
    assert name.get() == "outside"


async def test_delivery_runs_the_task_in_the_same_turn() -> None:
    waiter: Waiter = asyncio.Future()
    seen: list[str] = []

    async def wait() -> None:
        await waiter
        seen.append("task")

    def callback() -> None:
        deliver(waiter)
        seen.append("callback")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(callback)
    await task
    assert seen == ["task", "callback"]


@pytest.mark.parametrize("begun", [False, True])
async def test_an_exception_as_the_loop_is_told_leaves_no_task_asleep(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    waiter: Waiter = asyncio.Future()
    call_soon = loop.call_soon

    async def wait() -> None:
        await waiter

    def interrupted(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(loop, "call_soon", call_soon)
        if begun:
            call_soon(*args, **options)
        raise KeyboardInterrupt

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    monkeypatch.setattr(loop, "call_soon", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wake(waiter)
    await asyncio.wait_for(task, 60)
