"""Several messages in one call, of which a timeout says how many are sent."""

from __future__ import annotations

from typing import Any

import pytest

from blocking import Call, Connect, until_waiting
from ipc_channel.sync import (
    CallTimeoutError,
    IPCChannel,
    IPCChannelClient,
    IPCChannelError,
    MessageTooLargeError,
    UnfinishedWriteError,
)
from raw import frame

COUNT = 3000  # together more than the kernel holds
SIZE = 10_000


def message(number: int) -> bytes:
    return number.to_bytes(4, "big") * (SIZE // 4)


def test_a_timeout_says_how_many_were_sent(connect: Connect) -> None:
    """Whatever ``sent`` counts arrives, whole and once, and nothing else does."""
    with connect() as (ours, peer):
        with pytest.raises(TimeoutError) as caught:
            ours.write_many(map(message, range(COUNT)), timeout=0.05)
        error = caught.value
        assert isinstance(error, CallTimeoutError | UnfinishedWriteError)
        assert 0 < error.sent < COUNT
        receiving = Call(lambda: [peer.recv_frame() for _ in range(error.sent + 1)])
        ours.write(b"the next")
        expected = [message(number) for number in range(error.sent)]
        assert receiving.result() == [*expected, b"the next"]


def test_nothing_is_sent_while_the_queue_is_full(connect: Connect) -> None:
    with connect() as (ours, peer):
        with pytest.raises(UnfinishedWriteError):
            ours.write(bytes(40 * 2**20), timeout=0.01)
        with pytest.raises(CallTimeoutError) as caught:
            ours.write_many([b"a", b"b"], timeout=0.01)
        assert caught.value.sent == 0
        receiving = Call(peer.recv, 40 * 2**20 + 4)
        ours.write(b"the next")
        receiving.result()
        assert peer.recv_frame() == b"the next"


def test_a_refused_message_stops_the_rest(connect: Connect) -> None:
    with connect(max_message_size=10) as (ours, peer):
        with pytest.raises(MessageTooLargeError):
            ours.write_many([b"never sent", bytes(11), b"nor this"])
        ours.write(b"the next")
        assert peer.recv_frame() == b"the next"


@pytest.mark.parametrize("wrong", [b"abc", bytearray(3), memoryview(b"abc"), "abc"])
def test_one_message_instead_of_several(connect: Connect, wrong: Any) -> None:
    with connect() as (ours, peer):
        with pytest.raises(TypeError, match="such as a list"):
            ours.write_many(wrong)
        ours.write_many([])
        ours.write(b"the next")
        assert peer.recv_frame() == b"the next"


def test_a_timeout_is_an_error_of_the_library(connect: Connect) -> None:
    with connect() as (ours, _), pytest.raises(IPCChannelError) as caught:
        ours.read(timeout=0)
    assert caught.value.code == "timeout"


def test_connect_without_a_limit(connect: Connect) -> None:
    with connect() as (ours, peer):
        peer.send(frame(b"unread"))
        assert ours.connect(None)  # is connected
        peer.close()
        assert ours.read() == b"unread"
        assert ours.read() is None or ours.end_reason == "reset"
        if isinstance(ours, IPCChannel):
            waiting = Call(ours.connect, None)
            until_waiting(ours)
            ours.close()
            assert waiting.result() is False


def test_a_channel_is_not_made_by_its_base_class() -> None:
    wrong: Any = IPCChannelClient
    with pytest.raises(TypeError, match="make_ipc_channel_client"):
        wrong("/a", "/b")
