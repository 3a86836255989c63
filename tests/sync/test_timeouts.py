"""Timeouts of read, write, connect and close: what they keep, and what they leave."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import Any

import pytest

from blocking import Call, Connect, driver_of, make, pair, session_of, until_waiting
from ipc_channel import (
    ChannelClosedError,
    ConnectTimeoutError,
    LocalError,
    UnfinishedWriteError,
)
from raw import CLOSE, Raw, frame


def took(begin: float) -> float:
    return time.monotonic() - begin


@pytest.mark.parametrize("timeout", [0, 0.0, 0.001, 0.02])
def test_a_read_that_times_out(connect: Connect, timeout: float) -> None:
    with connect() as (ours, peer):
        for _ in range(3):
            begin = time.monotonic()
            with pytest.raises(TimeoutError, match=f"within {timeout} s"):
                ours.read(timeout)
            assert took(begin) >= timeout
        peer.send(frame(b"arrived"))
        assert ours.read(timeout) == b"arrived"
        peer.send(CLOSE)
        assert ours.read(timeout) is None


def test_timeouts_that_are_none(connect: Connect) -> None:
    with connect() as (ours, peer):
        bad: Any
        for bad, kind in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError)):
            for use in (
                lambda bad=bad: ours.read(bad),
                lambda bad=bad: ours.write(bytes(100_000), bad),
                lambda bad=bad: ours.write(b"small", bad),
                lambda bad=bad: ours.connect(bad),
            ):
                with pytest.raises(kind):
                    use()
        peer.send(CLOSE)
        assert ours.read() is None
        ours.close()
        assert peer.recv_all() == []


@pytest.mark.parametrize("timeout", [3e6, 1e9])
def test_timeouts_longer_than_the_system_can_wait(connect: Connect, timeout: float) -> None:
    with connect() as (ours, peer):
        readers = [Call(ours.read, timeout) for _ in range(2)]
        until_waiting(ours, 2)
        writing = Call(ours.write, bytes(10**7), timeout)
        assert peer.recv_frame() == bytes(10**7)
        writing.result()
        peer.send(frame(b"x") * 2)
        assert [reader.result() for reader in readers] == [b"x"] * 2


def test_reads_that_time_out_lose_nothing(transport: Any) -> None:
    rng = random.Random(1)
    messages = [rng.randbytes(rng.choice([1, 10, 5000, 70_000])) for _ in range(300)]
    with pair(transport) as (server, client):

        def write() -> None:
            for message in messages:
                client.write(message)

        writing = Call(write)
        got: list[bytes | None] = []
        while len(got) < len(messages):
            with contextlib.suppress(TimeoutError):
                got.append(server.read(rng.choice([0, 0.0001, 0.001])))
        assert got == messages
        writing.result()


def fill(ours: Any) -> list[int]:
    """Write messages until none fits any more; return their sizes."""
    sizes = []
    for size in (100_000, 1000, 1):
        while True:
            try:
                ours.write(bytes(size), 0)
            except UnfinishedWriteError:
                sizes.append(size)
                break
            except TimeoutError:
                break
            sizes.append(size)
    return sizes


def take(peer: Raw, sizes: list[int]) -> None:
    for size in sizes:
        assert peer.recv_frame() == bytes(size)


@pytest.mark.parametrize("size", [1, 4000, 5000, 70_000])
def test_a_write_that_could_send_nothing_is_not_sent(connect: Connect, size: int) -> None:
    with connect() as (ours, peer):
        sizes = fill(ours)
        for timeout in (0, 0.01):
            begin = time.monotonic()
            with pytest.raises(TimeoutError, match="not sent") as caught:
                ours.write(b"-" * size, timeout)
            assert not isinstance(caught.value, UnfinishedWriteError)
            assert took(begin) >= timeout
        taking = Call(take, peer, sizes)
        ours.write(b"now")
        taking.result()
        assert peer.recv_frame() == b"now"
        ours.close()
        assert peer.recv_all() == []


def test_a_write_of_which_a_part_went_is_finished_by_the_next(connect: Connect) -> None:
    with connect() as (ours, peer):
        with pytest.raises(UnfinishedWriteError, match="do not write") as caught:
            ours.write(b"1" * 10**7, 0.01)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, LocalError)
        assert caught.value.code == "unfinished"
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match="not sent"):
                ours.write(b"never", timeout)
        assert ours.connected
        taking = Call(peer.recv_frame)
        ours.write(b"2")
        assert taking.result() == b"1" * 10**7
        assert peer.recv_frame() == b"2"


def test_a_write_of_which_a_part_went_is_finished_by_a_read(connect: Connect) -> None:
    with connect() as (ours, peer):
        with pytest.raises(UnfinishedWriteError):
            ours.write(b"1" * 10**7, 0)

        def answer() -> None:
            assert peer.recv_frame() == b"1" * 10**7
            peer.send(frame(b"answer"))

        answering = Call(answer)
        assert ours.read() == b"answer"
        answering.result()


def test_a_write_of_which_a_part_went_is_finished_by_close(connect: Connect) -> None:
    with connect() as (ours, peer):
        with pytest.raises(UnfinishedWriteError):
            ours.write(b"1" * 10**7, 0)
        taking = Call(peer.recv_all)
        ours.close()
        assert taking.result() == [b"1" * 10**7]


def test_a_small_write_that_is_cut(transport: Any, tmp_path: Any) -> None:
    """The short way of small messages, too, sends a message whole or not at all."""
    with pair(transport) as (server, client):
        expected, number = [], 0
        for number in range(10**6):
            message = b"%d " % number + bytes(number % 4000)
            try:
                client.write(message, 0)
            except UnfinishedWriteError:
                expected.append(message)
                break
            except TimeoutError:
                break
            expected.append(message)
        assert number > 10
        closing = Call(client.close)
        assert list(server) == expected
        server.close()
        closing.result()


@pytest.mark.parametrize("timeout", [0, 0.01, 0.3])
def test_connect_is_never_early(
    role: str, transport: str, tmp_path: Any, timeout: float
) -> None:
    ours = make(role, transport, tmp_path)
    for _ in range(2):
        begin = time.monotonic()
        assert ours.connect(timeout) is False
        assert took(begin) >= timeout
        assert isinstance(ours.last_exception, ConnectTimeoutError)
    ours.close()


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_close_that_times_out_frees_everything(connect: Connect, timeout: float) -> None:
    with connect(linger=60) as (ours, peer):
        with pytest.raises(UnfinishedWriteError):
            ours.write(bytes(10**7), 0)
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            ours.close(timeout)
        assert timeout <= took(begin) < 30
        assert session_of(ours).closed
        assert driver_of(ours).loop.is_closed()
        ours.close(timeout)
        with pytest.raises(ChannelClosedError):
            ours.write(b"x")
        while peer.recv(2**20):
            pass


def test_a_close_in_time(connect: Connect) -> None:
    with connect() as (ours, peer):
        taking = Call(peer.recv_all)
        ours.write(b"x")
        closing = Call(ours.close, 60)
        assert taking.result() == [b"x"]
        peer.close()
        closing.result()
        assert session_of(ours).closed


def test_writers_that_time_out_among_others(connect: Connect) -> None:
    """Whatever times out when: no message is torn, lost or doubled."""
    with connect() as (ours, peer):
        sent: list[tuple[bytes, bool]] = []  # whether it must arrive, or must not
        lock = threading.Lock()

        def write(seed: int) -> None:
            rng = random.Random(seed)
            for number in range(60):
                size = rng.choice([10, 100, 5000, 100_000])
                message = b"%d %d " % (seed, number) + bytes(size)
                arrives = True
                try:
                    ours.write(message, rng.choice([None, 0, 0.0005, 0.005]))
                except UnfinishedWriteError:
                    pass
                except TimeoutError:
                    arrives = False
                with lock:
                    sent.append((message, arrives))

        writers = [Call(write, seed) for seed in range(4)]
        taking = Call(peer.recv_all)
        for writer in writers:
            writer.result()
        ours.close()
        got = taking.result()
        assert sorted(got) == sorted(message for message, arrives in sent if arrives)
