"""How threads share the loop of a channel: who leads, who follows, who wakes whom."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from blocking import Call, eventually
from descriptors import open_descriptors
from flood import Interrupt
from ipc_channel.sync.driver import NOBODY, Driver


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    use = driver.acquire()
    yield driver
    driver.release(use)
    assert driver.loop.is_closed()


class Flag:
    """Something that threads wait for."""

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self) -> bool:
        return self.is_set

    def set(self) -> None:
        self.is_set = True


def until(driver: Driver, count: int) -> None:
    eventually(lambda: len(driver.waiting) == count and driver.leader != NOBODY)


def test_what_is_there_already(driver: Driver) -> None:
    assert driver.wait(lambda: True)
    assert driver.wait(lambda: True, 0)
    assert not driver.waiting


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_wait_in_vain(driver: Driver, timeout: float) -> None:
    begin = time.monotonic()
    assert not driver.wait(lambda: False, timeout)
    assert time.monotonic() - begin >= timeout
    assert driver.leader == NOBODY


def test_a_leader_wakes_the_others(driver: Driver) -> None:
    flags = [Flag() for _ in range(4)]
    waits = [Call(driver.wait, flag) for flag in flags]
    until(driver, 4)
    for number, flag in enumerate(flags):
        driver.call(flag.set)
        assert waits[number].result()
        until(driver, 3 - number) if number < 3 else None
    assert driver.leader == NOBODY


def test_the_leader_and_the_next_leave_at_once(driver: Driver) -> None:
    """Whoever is woken as it times out passes that on."""
    for _ in range(50):
        last = Flag()
        brief = [Call(driver.wait, lambda: False, 0.002) for _ in range(4)]
        patient = [Call(driver.wait, last) for _ in range(2)]
        assert not any(one.result() for one in brief)
        driver.call(last.set)
        assert all(one.result() for one in patient)


def test_what_fails_in_one_thread_is_seen_by_the_others(driver: Driver) -> None:
    flags = [Flag() for _ in range(3)]

    def fail() -> bool:
        if flags[0].is_set:
            raise ValueError
        return False

    failing = Call(driver.wait, fail)
    until(driver, 1)  # it leads
    stuck = Call(driver.wait, lambda: flags[2].is_set)
    until(driver, 2)
    waiting = Call(driver.wait, flags[1])
    until(driver, 3)

    def set_both() -> None:
        flags[0].set()
        flags[1].set()

    driver.loop.call_soon_threadsafe(set_both)
    assert isinstance(failing.error(), ValueError)
    assert waiting.result()
    driver.call(flags[2].set)
    assert stuck.result()


def test_a_timer_ends_the_poll_of_another_thread(driver: Driver) -> None:
    flag = Flag()
    waiting = Call(driver.wait, flag)
    until(driver, 1)

    def later() -> None:
        driver.loop.call_later(0.01, flag.set)

    driver.call(later)
    assert waiting.result()


def test_call_soon_threadsafe_ends_the_poll(driver: Driver) -> None:
    for _ in range(3):
        flag = Flag()
        waiting = Call(driver.wait, flag)
        until(driver, 1)
        driver.loop.call_soon_threadsafe(flag.set)
        assert waiting.result()


def test_a_coroutine_that_times_out_cleans_up(driver: Driver) -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.001)
            done.append("cleaned up")

    with pytest.raises(TimeoutError, match=r"not done within 0\.01 s"):
        driver.run(work(), 0.01)
    assert done == ["cleaned up"]


def test_a_coroutine_that_ends_although_it_is_cancelled(driver: Driver) -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            return "done"
        return ""

    assert driver.run(work(), 0) == "done"


def test_a_coroutine_that_fails(driver: Driver) -> None:
    async def work() -> None:
        raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        driver.run(work())


def test_a_task_that_asyncio_has_forgotten_is_resumed(driver: Driver) -> None:
    """As if a signal handler had raised just when asyncio was to schedule it."""
    done: list[str] = []

    async def work() -> None:
        waiter: asyncio.Future[None] = driver.loop.create_future()
        driver.loop.call_soon(complete, waiter)
        try:
            await waiter
            await asyncio.sleep(1000)
        finally:
            done.append("cleaned up")

    def complete(waiter: asyncio.Future[None]) -> None:
        waiter.set_result(None)
        driver.loop._ready.clear()  # what would resume the task
        raise Interrupt

    with pytest.raises(Interrupt):
        driver.run(work())
    assert done == ["cleaned up"]


def test_an_interrupt_as_a_task_is_made(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_soon = driver.loop.call_soon

    def interrupted(*args: object, **kwargs: object) -> asyncio.Handle:
        call_soon(*args, **kwargs)  # type: ignore[arg-type]
        raise Interrupt

    async def work() -> None:
        raise AssertionError("it never begins")

    monkeypatch.setattr(driver.loop, "call_soon", interrupted)
    with pytest.raises(Interrupt):
        driver.run(work())
    monkeypatch.undo()
    driver.look()


def test_an_interrupt_as_a_thread_leaves(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lead is handed over nevertheless."""
    flag = Flag()
    leave = driver.leave
    main = threading.get_ident()
    interrupts = [Interrupt]

    def interrupted(token: object, is_nested: bool) -> None:
        if threading.get_ident() == main and interrupts:
            raise interrupts.pop()
        leave(token, is_nested)

    monkeypatch.setattr(driver, "leave", interrupted)
    with pytest.raises(Interrupt):
        driver.wait(lambda: False, 0)
    assert driver.leader == NOBODY
    assert not driver.waiting
    waiting = Call(driver.wait, flag)
    until(driver, 1)
    driver.call(flag.set)
    assert waiting.result()


def test_the_loop_is_freed_when_nobody_uses_it_or_waits() -> None:
    before = open_descriptors()
    driver, flag = Driver(), Flag()
    first, second = driver.acquire(), driver.acquire()
    waiting = Call(driver.wait, flag)
    until(driver, 1)
    driver.release(first)
    driver.release(first)
    assert not driver.loop.is_closed()
    driver.release(second)
    assert not driver.loop.is_closed()  # a thread still waits
    driver.loop.call_soon_threadsafe(flag.set)
    assert waiting.result()
    assert driver.loop.is_closed()
    assert open_descriptors() == before
    assert not driver.wait(lambda: False, 0)
    assert not driver.wait(lambda: False)  # nothing could come any more
    driver.look()
    driver.release(second)


def test_the_loop_is_freed_with_the_driver() -> None:
    before = open_descriptors()
    driver = Driver()
    alive = weakref.ref(driver)
    driver.acquire()
    del driver
    gc.collect()
    assert alive() is None
    assert open_descriptors() == before


def test_descriptors_in_any_thread(driver: Driver) -> None:
    """A reader that is added in one thread is called by the thread that polls."""
    got: list[bytes] = []
    reader, writer = os.pipe()
    waiting = Call(driver.wait, lambda: bool(got))
    until(driver, 1)
    driver.call(
        lambda: driver.loop.add_reader(reader, lambda: got.append(os.read(reader, 9)))
    )
    os.write(writer, b"x")
    assert waiting.result()
    assert got == [b"x"]
    driver.call(lambda: driver.loop.remove_reader(reader))
    os.close(reader)
    os.close(writer)
