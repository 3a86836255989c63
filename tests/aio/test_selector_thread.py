"""The thread that watches sockets for an event loop that cannot."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

import forks
from descriptors import open_descriptors
from ipc_channel.aio import readiness, selector_thread
from ipc_channel.aio.readiness import SelectorThreads, unwatch_input, watcher_of
from ipc_channel.aio.selector_thread import SelectorThread
from raw import eventually
from unwatching_loop import UnwatchingLoop

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selector_thread, "_IDLE", 0.01)


@contextlib.contextmanager
def pairs(count: int) -> Iterator[list[Pair]]:
    with contextlib.ExitStack() as stack:
        made = [socket.socketpair() for _ in range(count)]
        for sock in (one for pair in made for one in pair):
            stack.enter_context(sock)
        yield made


def running() -> set[threading.Thread]:
    """Return the selector threads that run: those of an earlier test may be about to end."""
    return {one for one in threading.enumerate() if one.name == "ipc_channel selector"}


async def test_input_is_reported_until_it_is_read() -> None:
    with pairs(1) as [(ours, other)]:
        watcher = SelectorThread(asyncio.get_running_loop())
        seen: list[str] = []
        watcher.add_reader(ours.fileno(), seen.append, "input")
        other.send(b"x")
        await eventually(lambda: len(seen) > 2)
        ours.recv(1)
        other.shutdown(socket.SHUT_WR)
        seen.clear()
        await eventually(lambda: len(seen) > 2)
        assert watcher.remove_reader(ours.fileno())
        assert not watcher.remove_reader(ours.fileno())


async def test_a_start_that_a_signal_handler_interrupts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread runs by then, and must not go on beside the next one."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    before = running()  # the loop itself may have one
    with pairs(1) as [(ours, other)]:
        watcher = SelectorThread(asyncio.get_running_loop())
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            watcher.add_reader(ours.fileno(), bool)
        monkeypatch.undo()
        came = asyncio.Event()
        watcher.add_reader(ours.fileno(), came.set)
        other.send(b"x")
        await came.wait()
        await eventually(lambda: len(running() - before) == 1)
        watcher.remove_reader(ours.fileno())


async def test_room_is_reported_once_there_is_some() -> None:
    with pairs(2) as [(ours, other), (ready, _)]:
        watcher = SelectorThread(asyncio.get_running_loop())
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                ours.send(bytes(2**16))
        room = asyncio.Event()
        watcher.add_writer(ours.fileno(), room.set)
        looked = asyncio.Event()
        watcher.add_writer(ready.fileno(), looked.set)
        await looked.wait()
        watcher.remove_writer(ready.fileno())
        assert not room.is_set()
        other.setblocking(False)
        while not room.is_set():
            with contextlib.suppress(BlockingIOError):
                other.recv(2**16)
            await asyncio.sleep(0)
        assert watcher.remove_writer(ours.fileno())


async def test_a_watch_that_was_removed_meanwhile_is_not_called() -> None:
    """Nor is it if another socket got its number."""
    with pairs(2) as made:
        watcher = SelectorThread(asyncio.get_running_loop())
        numbers = [ours.fileno() for ours, _ in made]
        called: list[int] = []

        def take(number: int) -> None:
            called.append(number)
            for one in numbers:
                watcher.remove_reader(one)
            watcher.add_reader(numbers[number - 1], lambda: None)

        for _, other in made:
            other.send(b"x")
        for place, number in enumerate(numbers):
            watcher.add_reader(number, take, place)
        await eventually(lambda: bool(called))
        await asyncio.sleep(0)
        assert len(called) == 1
        watcher.remove_reader(numbers[called[0] - 1])


async def test_a_callback_that_fails_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
    with pairs(2) as [(first, one), (second, other)]:
        watcher = SelectorThread(loop)
        called = asyncio.Event()

        def fail() -> None:
            watcher.remove_reader(first.fileno())
            raise KeyError

        watcher.add_reader(first.fileno(), fail)
        watcher.add_reader(second.fileno(), called.set)
        one.send(b"x")
        await eventually(lambda: len(failed) == 1)
        other.send(b"x")
        await called.wait()
        watcher.remove_reader(second.fileno())


async def test_a_closed_descriptor_is_reported_and_stops_no_other() -> None:
    with pairs(2) as [(first, _), (second, other)]:
        watcher = SelectorThread(asyncio.get_running_loop())
        number, told, called = first.fileno(), asyncio.Event(), asyncio.Event()
        watcher.add_reader(number, told.set)
        watcher.add_reader(second.fileno(), called.set)
        first.close()
        watcher.add_writer(number, told.set)  # so that it looks again
        await told.wait()
        watcher.remove_reader(number)
        watcher.remove_writer(number)
        other.send(b"x")
        await called.wait()
        watcher.remove_reader(second.fileno())


async def test_a_thread_that_has_waited_for_its_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop may be done just when the thread has waited for it long enough."""
    monkeypatch.setattr(selector_thread, "_IDLE", 0.001)
    with pairs(1) as [(ours, other)]:
        watcher = SelectorThread(asyncio.get_running_loop())
        rounds = 0

        def work() -> None:
            nonlocal rounds
            rounds += 1
            time.sleep(0.001)

        watcher.add_reader(ours.fileno(), work)
        other.send(b"x")
        await eventually(lambda: rounds > 300)
        watcher.remove_reader(ours.fileno())


async def test_the_thread_ends_when_nothing_is_watched() -> None:
    others, before = running(), open_descriptors()
    watcher = SelectorThread(asyncio.get_running_loop())
    with pairs(1) as [(ours, other)]:
        other.send(b"x")
        for _ in range(3):
            called = asyncio.Event()
            watcher.add_reader(ours.fileno(), called.set)
            await called.wait()
            watcher.remove_reader(ours.fileno())
            await eventually(lambda: running() <= others)
    assert open_descriptors() <= before


def test_the_thread_ends_when_its_loop_is_closed() -> None:
    others = running()
    loop = UnwatchingLoop()
    with pairs(1) as [(ours, other)]:
        watcher = SelectorThread(loop)
        watcher.add_reader(ours.fileno(), lambda: None)
        loop.close()
        other.send(b"x")
        asyncio.run(eventually(lambda: running() <= others))
        assert watcher.remove_reader(ours.fileno())


def test_the_thread_ends_when_its_loop_stops_for_ever() -> None:
    """It has reported something to a loop that does not run any more."""
    others = running()
    loop = asyncio.new_event_loop()
    with pairs(1) as [(ours, other)]:
        watcher = SelectorThread(loop)
        watcher.add_reader(ours.fileno(), lambda: None)
        other.send(b"x")
        asyncio.run(eventually(lambda: watcher._is_reporting))
        loop.close()
        asyncio.run(eventually(lambda: running() <= others))


async def test_more_sockets_than_one_thread_can_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selector_thread, "CAPACITY", 2)
    watcher = SelectorThreads(asyncio.get_running_loop())
    with pairs(5) as made:
        called: set[int] = set()
        for ours, _ in made:
            watcher.add_reader(ours.fileno(), called.add, ours.fileno())
            watcher.add_writer(ours.fileno(), called.add, -ours.fileno())
        assert len(watcher._threads) == 3
        for _, other in made:
            other.send(b"x")
        numbers = {ours.fileno() for ours, _ in made}
        await eventually(lambda: called == numbers | {-one for one in numbers})
        for number in numbers:
            assert watcher.remove_reader(number)
            assert watcher.remove_writer(number)


def test_a_forked_child_has_nothing_of_it() -> None:
    loop = UnwatchingLoop()
    with pairs(1) as [(ours, _)]:
        before = open_descriptors()
        assert forks.in_child(lambda: len(before - open_descriptors())) >= 2  # its own pair
        watcher_of(loop).add_reader(ours.fileno(), lambda: None)
        unwatch_input(loop, ours.fileno())
    loop.close()


async def test_a_loop_that_watches_itself_is_asked_itself() -> None:
    loop = asyncio.get_running_loop()
    assert (watcher_of(loop) is loop) == readiness.watches_itself(loop)
    assert readiness.watches_itself(loop) != isinstance(loop, UnwatchingLoop)
