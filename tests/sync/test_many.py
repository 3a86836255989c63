"""``write_many``: several messages at once, in time or not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from blocking import Call, Connect, make, until_blocked, until_waiting
from ipc_channel import CallTimeoutError, PeerGoneError, ResetError, UnfinishedWriteError
from ipc_channel.sync import IPCChannelClient
from raw import PATIENCE


@pytest.mark.parametrize("timeout", [0, 0.001, 0.02])
@pytest.mark.parametrize("size", [200, 5000, 70_000])
def test_in_time_or_not_the_error_says_how_many(
    connect: Connect, timeout: float, size: int
) -> None:
    messages = [b"%d " % number + bytes(size) for number in range(10**7 // (size + 10))]
    with connect() as (ours, peer):
        with pytest.raises((CallTimeoutError, UnfinishedWriteError)) as caught:
            ours.write_many(messages, timeout)
        error: Any = caught.value
        sent = error.sent
        assert 0 < sent <= len(messages)
        taking = Call(peer.recv_all)
        ours.write(b"next")
        ours.close()
        assert taking.result() == [*messages[:sent], b"next"]


def test_some_at_a_time(connect: Connect) -> None:
    """Whatever is left is given again, until all is sent once."""
    rng = random.Random(1)
    messages = [b"%d " % n + bytes(rng.choice([1, 3000, 90_000])) for n in range(500)]
    with connect() as (ours, peer):
        taking, left = Call(peer.recv_all), messages
        while left:
            try:
                ours.write_many(left, 0)
                break
            except TimeoutError as error:
                assert isinstance(error, CallTimeoutError | UnfinishedWriteError)
                left = left[error.sent :]
        ours.close()
        assert taking.result() == messages


def test_with_time_enough(connect: Connect) -> None:
    with connect() as (ours, peer):
        taking = Call(peer.recv_all)
        ours.write_many([bytes(100_000)] * 50, PATIENCE)
        ours.write_many(iter([b"a", b"b"]), PATIENCE)
        ours.close()
        assert taking.result() == [bytes(100_000)] * 50 + [b"a", b"b"]


def test_messages_of_others_in_between(connect: Connect) -> None:
    with connect() as (ours, peer):
        many = [Call(ours.write_many, [b"%d" % n * 1000] * 200) for n in range(4)]
        single = [Call(ours.write, b"single") for _ in range(10)]
        got = [peer.recv_frame() for _ in range(4 * 200 + 10)]
        for one in (*many, *single):
            one.result()
        for number in range(4):
            assert got.count(b"%d" % number * 1000) == 200
        assert got.count(b"single") == 10


def test_a_peer_that_goes(connect: Connect) -> None:
    with connect() as (ours, peer):
        writing = Call(ours.write_many, [bytes(1000)] * 20_000)
        until_blocked(ours)
        until_waiting(ours)
        peer.close()
        assert isinstance(writing.error(), PeerGoneError | ResetError)


@pytest.mark.parametrize("wrong", [b"one message", bytearray(3), memoryview(b"x"), "text"])
def test_one_message_is_not_several(connect: Connect, wrong: Any) -> None:
    with connect() as (ours, _), pytest.raises(TypeError, match="several messages"):
        ours.write_many(wrong)


def test_an_iterator_that_fails(connect: Connect) -> None:
    def messages() -> Any:
        yield from [bytes(100_000)] * 3
        raise ValueError("no more")

    with connect() as (ours, peer):
        taking = Call(peer.recv_all)
        with pytest.raises(ValueError, match="no more"):
            ours.write_many(messages())
        ours.close()
        assert taking.result() == [bytes(100_000)] * 3


def test_an_iterator_that_uses_the_channel(connect: Connect) -> None:
    with connect() as (ours, peer):

        def messages() -> Any:
            yield b"first"
            ours.write(b"from within")
            yield b"last"

        ours.write_many(messages())
        assert [peer.recv_frame() for _ in range(3)] == [b"from within", b"first", b"last"]


def test_connect_without_limit(role: str, transport: str, tmp_path: Any) -> None:
    ours = make(role, transport, tmp_path)
    connecting = Call(ours.connect, None)
    until_waiting(ours)
    ours.close()
    assert connecting.result() is False


def test_an_interface_is_not_constructed() -> None:
    arguments: Any = ("in", "out")
    with pytest.raises(TypeError, match="make_ipc_channel"):
        IPCChannelClient(*arguments)
