"""The loop of blocking channels, one round at a time."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from weakref import WeakMethod

import pytest

from caller_loops import new_caller_loop
from flood import Interrupt
from ipc_channel.sync.caller_loop import CallerLoop
from ipc_channel.sync.poller import READ, WRITE, EpollPoller, Poller, SelectorPoller
from ipc_channel.sync.spinning import SpinningPoller


class Changes:
    """Counts what a thread that polls ought to notice."""

    def __init__(self) -> None:
        self.count = 0

    def on_change(self) -> None:
        self.count += 1


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def loop(changes: Changes) -> Iterator[CallerLoop]:
    loop = CallerLoop(WeakMethod(changes.on_change))  # type: ignore[abstract]  # has what it needs
    yield loop
    loop.close()


def test_callbacks_in_their_order_and_each_once(loop: CallerLoop) -> None:
    got: list[int] = []
    assert not loop.run_round(())
    for number in range(3):
        loop.call_soon(got.append, number)
    loop.call_soon(loop.call_soon, got.append, 3)
    loop.call_soon(got.append, -1).cancel()
    assert loop.pause(None) == 0
    assert loop.run_round(())
    assert got == [0, 1, 2]  # and not what they have added: that is for the next round
    assert loop.run_round(())
    assert got == [0, 1, 2, 3]
    assert not loop.run_round(())
    assert loop.is_idle()


def test_a_callback_that_cancels_the_next(loop: CallerLoop) -> None:
    got: list[str] = []
    handles: list[asyncio.Handle] = []

    def cancel() -> None:
        handles[0].cancel()

    loop.call_soon(cancel)
    handles.append(loop.call_soon(got.append, "second"))
    timer = loop.call_later(0, got.append, "timer")
    loop.call_soon(timer.cancel)
    loop.run_round(())
    loop.run_round(())
    assert got == []


def test_timers(loop: CallerLoop) -> None:
    got: list[str] = []
    loop.call_later(1000, got.append, "late")
    loop.call_later(0, got.append, "second")
    loop.call_at(loop.time() - 1, got.append, "first")
    loop.call_later(-1, got.append, "never").cancel()
    assert loop.pause(None) == 0
    assert loop.run_round(())
    assert got == ["first", "second"]
    assert not loop.is_idle()
    assert not loop.run_round(())
    assert 900 < (loop.pause(None) or 0) <= 1000
    assert loop.pause(loop.time()) == 0
    assert (loop.pause(loop.time() + 1e9) or 0) <= 1000


def test_a_cancelled_timer_is_no_reason_to_wait(loop: CallerLoop) -> None:
    loop.call_later(1000, print).cancel()
    assert loop.is_idle()
    assert loop.pause(None) is None


def test_pauses_are_bounded(loop: CallerLoop) -> None:
    loop.call_later(1e9, print)
    assert (loop.pause(None) or 0) <= 24 * 3600
    assert (loop.pause(loop.time() + 1e12) or 0) <= 24 * 3600


def test_a_callback_that_fails_is_logged(
    loop: CallerLoop, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []

    def fail() -> None:
        raise ValueError("it failed")

    loop.call_soon(fail)
    loop.call_soon(got.append, "next")
    logger = logging.getLogger("ipc_channel")
    handlers, logger.handlers = logger.handlers, []
    loop.run_round(())
    logger.handlers = handlers
    assert got == ["next"]
    assert "it failed" in caplog.text


@pytest.mark.parametrize("kind", [Interrupt, SystemExit])
def test_an_interrupted_round_keeps_what_it_has_not_called(
    loop: CallerLoop, kind: type[BaseException]
) -> None:
    got: list[str] = []

    def interrupt() -> None:
        raise kind

    loop.call_soon(got.append, "before")
    loop.call_soon(interrupt)
    loop.call_soon(got.append, "after")
    with pytest.raises(kind):
        loop.run_round(())
    assert got == ["before"]
    loop.run_round(())
    assert got == ["before", "after"]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_it_is_the_running_loop_within_a_round(loop: CallerLoop) -> None:
    got: list[object] = []
    loop.call_soon(lambda: got.append(asyncio.get_running_loop()))
    loop.run_round(())
    assert got == [loop]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_call_soon_threadsafe_tells(loop: CallerLoop, changes: Changes) -> None:
    loop.call_soon(print)
    assert changes.count == 0
    loop.call_soon_threadsafe(print)
    assert changes.count == 1


def test_both_callbacks_of_a_descriptor_that_has_failed(loop: CallerLoop) -> None:
    """An error or a hang-up is for both; one of them may remove the other."""
    got: list[str] = []
    reader, writer = os.pipe()
    os.close(reader)
    loop.add_writer(writer, got.append, "write")
    ready = loop.poller.poll(0)
    loop.run_round(ready)
    assert got == ["write"]

    def read() -> None:
        got.append("read")
        loop.remove_writer(writer)

    loop.add_reader(writer, read)
    loop.run_round(loop.poller.poll(0))
    assert got == ["write", "read"]
    assert loop.remove_reader(writer)
    assert not loop.remove_reader(writer)
    assert not loop.remove_writer(writer)
    loop.run_round(ready)
    assert got == ["write", "read"]
    os.close(writer)


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    poller: Poller = request.param()
    yield poller
    poller.close()


def test_a_poller(poller: Poller) -> None:
    reader, writer = os.pipe()
    poller.watch(reader, READ)
    assert list(poller.poll(0)) == []
    os.write(writer, b"x")
    assert list(poller.poll(1)) == [(reader, READ)]
    poller.watch(writer, WRITE)
    assert sorted(poller.poll(None)) == sorted([(reader, READ), (writer, WRITE)])
    poller.watch(reader, 0)
    assert list(poller.poll(0)) == [(writer, WRITE)]
    poller.watch(writer, 0)
    assert list(poller.poll(0)) == []
    poller.watch(reader, READ)
    assert list(poller.poll(0)) == [(reader, READ)]
    poller.watch(reader, 0)
    os.close(reader)
    os.close(writer)


def test_a_poller_spins_a_few_times_before_it_sleeps(poller: Poller) -> None:
    spinning = SpinningPoller(poller)
    reader, writer = os.pipe()
    poller.watch(reader, READ)
    for _ in range(100):
        assert list(spinning.poll(0)) == []
        assert list(spinning.poll(0.0001)) == []
    os.write(writer, b"x")
    assert list(spinning.poll(None)) == [(reader, READ)]
    poller.watch(reader, 0)
    os.close(reader)
    os.close(writer)


def test_the_loop_for_the_tests_runs_a_coroutine() -> None:
    loop = new_caller_loop()

    async def work() -> str:
        await asyncio.sleep(0.001)
        return await asyncio.to_thread(str.upper, "done")

    assert loop.run_until_complete(work()) == "DONE"
    loop.close()
