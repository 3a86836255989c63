"""Many threads in one channel at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from blocking import (
    Call,
    Connect,
    driver_of,
    eventually,
    make,
    pair,
    until_blocked,
    until_waiting,
)
from ipc_channel import ChannelClosedError, ConnectInProgressError, IPCChannelError
from ipc_channel.sync import IPCChannelClient
from ipc_channel.sync.driver import NOBODY
from raw import CLOSE, PATIENCE, frame

EACH = 300
THREADS = 8


def numbered(thread: int, number: int, size: int) -> bytes:
    return b"%d %d " % (thread, number) + bytes(size)


def check_each_came_once(got: list[list[bytes]], sizes: list[int]) -> None:
    """Each message to exactly one reader, and those of a writer in its order to each."""
    expected = Counter(
        numbered(thread, number, sizes[number % len(sizes)])
        for thread in range(THREADS)
        for number in range(EACH)
    )
    assert Counter(message for one in got for message in one) == expected
    for one in got:
        for thread in range(THREADS):
            prefix = b"%d " % thread
            of_thread = [int(m.split(b" ", 2)[1]) for m in one if m.startswith(prefix)]
            assert of_thread == sorted(of_thread)


@pytest.mark.parametrize(
    ("sizes", "timeout"),
    [([1], None), ([1], 0.001), ([1, 5000, 1, 70_000], None), ([1, 5000, 70_000], 0.002)],
)
def test_writers_and_readers(
    transport: Any, sizes: list[int], timeout: float | None
) -> None:
    with pair(transport) as (server, client):

        def write(thread: int) -> None:
            for number in range(EACH):
                client.write(numbered(thread, number, sizes[number % len(sizes)]))

        def read() -> list[bytes]:
            got: list[bytes] = []
            while True:
                try:
                    message = server.read(timeout)
                except TimeoutError:
                    continue
                if message is None:
                    return got
                got.append(message)

        readers = [Call(read) for _ in range(THREADS)]
        for writer in [Call(write, thread) for thread in range(THREADS)]:
            writer.result()
        client.close()
        check_each_came_once([reader.result() for reader in readers], sizes)
        assert not driver_of(server).waiting
        assert driver_of(server).leader == NOBODY


def test_both_directions_in_threads(transport: Any) -> None:
    """Each end writes and reads in four threads, some of them with timeouts."""
    with pair(transport) as ends:

        def write(end: IPCChannelClient, seed: int) -> int:
            rng = random.Random(seed)
            for _ in range(EACH):
                message = b"x" * rng.choice([1, 1, 100, 9000, 100_000])
                end.write(message)
            return EACH

        def read(end: IPCChannelClient, seed: int) -> int:
            rng, count = random.Random(seed), 0
            while True:
                try:
                    if end.read(rng.choice([None, 0, 0.001, 1])) is None:
                        return count
                    count += 1
                except TimeoutError:
                    pass

        reading = [Call(read, end, seed) for end in ends for seed in (1, 2)]
        writing = [Call(write, end, seed) for end in ends for seed in (3, 4)]
        assert [one.result() for one in writing] == [EACH] * 4
        eventually(lambda: all(len(driver_of(end).waiting) <= 2 for end in ends))
        # Of all that was written, half goes each way; the end comes behind it.
        closing = [Call(end.disconnect) for end in ends]
        for one in closing:
            one.result()
        assert sum(one.result() for one in reading) <= 4 * EACH


ENDING: dict[str, Callable[[IPCChannelClient], None]] = {
    "close": lambda channel: channel.close(),
    "disconnect": lambda channel: channel.disconnect(),
    "abort": lambda channel: channel.abort(),
}


@pytest.fixture(params=ENDING)
def ending(request: pytest.FixtureRequest) -> Callable[[IPCChannelClient], None]:
    return ENDING[str(request.param)]


@pytest.mark.parametrize("timeout", [None, 60])
def test_an_end_wakes_readers(
    connect: Connect, ending: Callable[[IPCChannelClient], None], timeout: float | None
) -> None:
    with connect(linger=0) as (ours, _):
        readers = [Call(ours.read, timeout) for _ in range(4)]
        until_waiting(ours, 4)
        begin = time.monotonic()
        ending(ours)
        assert [reader.result() for reader in readers] == [None] * 4
        assert time.monotonic() - begin < 30
        assert ours.read() is None
        assert not driver_of(ours).waiting


@pytest.mark.parametrize("timeout", [None, 60])
def test_an_end_wakes_writers(
    connect: Connect, ending: Callable[[IPCChannelClient], None], timeout: float | None
) -> None:
    with connect(linger=0) as (ours, _):
        writers = [Call(ours.write, bytes(10**7), timeout) for _ in range(3)]
        until_blocked(ours)
        until_waiting(ours, 3)
        reader = Call(ours.read)
        until_waiting(ours, 4)
        ending(ours)
        assert reader.result() is None
        for writer in writers:
            assert isinstance(writer.error(), ChannelClosedError | IPCChannelError)
        assert not driver_of(ours).waiting


def test_an_end_wakes_a_connect(role: str, transport: str, tmp_path: Any) -> None:
    ours = make(role, transport, tmp_path)
    connecting = Call(ours.connect, PATIENCE)
    until_waiting(ours)
    with pytest.raises(ConnectInProgressError):
        ours.connect(0)
    ours.close()
    assert connecting.result() is False
    assert ours.last_exception is None


def test_close_from_many_threads(connect: Connect) -> None:
    with connect() as (ours, peer):
        reader = Call(ours.read)
        until_waiting(ours)
        closing = [Call(ours.close) for _ in range(5)]
        assert peer.recv_all() == []
        peer.close()
        for one in closing:
            one.result()
        assert reader.result() is None


def test_close_while_a_message_is_being_written(connect: Connect) -> None:
    """The message that was begun arrives whole, and then the close frame."""
    with connect() as (ours, peer):
        message = bytes(range(250)) * 40_000
        writing = Call(ours.write, message)
        until_blocked(ours)
        waiting = Call(ours.write, b"not begun")
        until_waiting(ours, 2)
        closing = Call(ours.close)
        assert isinstance(writing.error(), ChannelClosedError)
        assert isinstance(waiting.error(), ChannelClosedError)
        assert peer.recv_all() == [message]
        peer.close()
        closing.result()


def test_readers_with_different_timeouts(connect: Connect) -> None:
    """One that leaves in time does not keep another that waits from its message."""
    with connect() as (ours, peer):
        rng = random.Random(1)
        for _ in range(20):
            timeouts = [rng.choice([0, 0.001, 0.005, 0.01, 0.02]) for _ in range(6)]
            brief = [Call(ours.read, timeout) for timeout in timeouts]
            patient = Call(ours.read)
            for one in brief:
                assert isinstance(one.error(), TimeoutError)
            until_waiting(ours, 1)
            peer.send(frame(b"for the patient one"))
            assert patient.result() == b"for the patient one"


def test_a_leader_that_leaves_hands_over(connect: Connect) -> None:
    with connect() as (ours, peer):
        first = Call(ours.read)
        until_waiting(ours)
        others = [Call(ours.read) for _ in range(5)]
        until_waiting(ours, 6)
        for number in range(6):
            peer.send(frame(b"x"))
            eventually(lambda number=number: len(driver_of(ours).waiting) == 5 - number)  # type: ignore[misc]  # a lambda's default
        for one in (first, *others):
            assert one.result() == b"x"


def test_a_leader_that_fails_tells_the_others(connect: Connect) -> None:
    """All readers get the end, although each of them leaves with an error."""
    with connect(max_message_size=10**7) as (ours, peer):
        writer = Call(ours.write, bytes(10**7))
        until_blocked(ours)
        readers = [Call(ours.read) for _ in range(4)]
        more_writers = [Call(ours.write, b"x") for _ in range(4)]
        until_waiting(ours, 9)
        peer.send(frame(b"one") * 3)
        eventually(lambda: sum(reader.done() for reader in readers) == 3)
        peer.send((10**7 + 1).to_bytes(4, "big"))
        got = [reader.error() for reader in readers]
        assert sum(error is None for error in got) == 3
        for one in (writer, *more_writers):
            assert isinstance(one.error(), IPCChannelError)


def test_an_orderly_end_among_many(connect: Connect) -> None:
    with connect() as (ours, peer):
        readers = [Call(list[bytes], ours) for _ in range(8)]
        until_waiting(ours, 8)
        peer.send(frame(b"x") * 1000 + CLOSE)
        assert sum(len(reader.result()) for reader in readers) == 1000


def test_properties_while_another_thread_reads(connect: Connect) -> None:
    with connect() as (ours, peer):
        reader = Call(ours.read)
        until_waiting(ours)
        assert ours.connected
        assert ours.end_reason is None
        assert ours.last_exception is None
        assert "connected" in repr(ours)
        peer.send(CLOSE)
        assert reader.result() is None
        assert ours.end_reason == "clean"
