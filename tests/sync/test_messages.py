"""Messages both ways over every transport and in both roles."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from blocking import Call, Connect, pair, read_to_end, until_blocked
from ipc_channel import (
    EmptyMessageError,
    MessageTooLargeError,
)
from raw import CLOSE, frame

SIZES = [1, 2, 5, 100, 4092, 4096, 4097, 65_536, 70_000, 262_144, 300_001, 5_000_000]
MESSAGES = [(size.to_bytes(4, "big") + bytes(size))[-size:] for size in SIZES]


def test_messages_of_all_sizes_to_the_peer(connect: Connect) -> None:
    with connect() as (ours, peer):
        taking = Call(peer.recv_all)
        for message in MESSAGES:
            ours.write(message)
        ours.close()
        assert taking.result() == MESSAGES


def test_messages_of_all_sizes_from_the_peer(connect: Connect) -> None:
    with connect() as (ours, peer):
        giving = Call(peer.send, b"".join(map(frame, MESSAGES)) + CLOSE)
        assert read_to_end(ours) == (MESSAGES, None)
        giving.result()
        assert ours.end_reason == "clean"


def test_a_frame_that_comes_byte_by_byte(connect: Connect) -> None:
    with connect() as (ours, peer):
        for message in (b"slow", b"x", bytes(10)):
            for byte in frame(message):
                with pytest.raises(TimeoutError):
                    ours.read(0)
                peer.send(bytes([byte]))
            assert ours.read() == message


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 9, 12, 13])
def test_frames_that_come_in_two_parts(connect: Connect, cut: int) -> None:
    data = frame(b"first") + frame(b"second")
    with connect() as (ours, peer):
        peer.send(data[:cut])
        reading = Call(ours.read)
        if cut < 9:
            with pytest.raises(TimeoutError):
                ours.read(0.01)  # both threads have looked at the first part
        peer.send(data[cut:])
        assert sorted([reading.result() or b"", ours.read() or b""]) == [
            b"first",
            b"second",
        ]


def test_round_trips(transport: Any) -> None:
    with pair(transport) as (server, client):

        def echo() -> None:
            for message in client:
                client.write(message)

        echoing = Call(echo)
        for message in MESSAGES * 3:
            server.write(message)
            assert server.read() == message
        for size in range(1, 300):
            server.write(bytes(size))
            assert server.read(30) == bytes(size)
        server.close()
        echoing.result()
        assert client.end_reason == "clean"


def test_many_small_messages(transport: Any) -> None:
    messages = [b"%d" % number for number in range(20_000)]
    with pair(transport) as (server, client):

        def write() -> None:
            for message in messages:
                client.write(message)

        writing = Call(write)
        assert [server.read() for _ in messages] == messages
        writing.result()


def test_both_ends_write_more_than_fits_before_they_read(transport: Any) -> None:
    """A write that waits reads meanwhile, so that of two such ends none hangs."""
    with pair(transport) as (server, client):
        for ends in ((server, client), (client, server)):
            writing = [Call(end.write, bytes(200_000)) for end in ends for _ in range(2)]
            assert [ends[1].read() for _ in range(2)] == [bytes(200_000)] * 2
            assert [ends[0].read() for _ in range(2)] == [bytes(200_000)] * 2
            for one in writing:
                one.result()


def test_anything_bytes_like(connect: Connect) -> None:
    with connect() as (ours, peer):
        changed = bytearray(b"as it was")
        ours.write(changed)
        changed[:] = b"different"
        ours.write(memoryview(b"every other byte")[::2])
        ours.write(memoryview(bytes(12)).cast("I"))
        assert peer.recv_frame() == b"as it was"
        assert peer.recv_frame() == b"eeyohrbt"
        assert peer.recv_frame() == bytes(12)


def test_what_is_no_message(connect: Connect) -> None:
    with connect(max_message_size=100) as (ours, peer):
        text: Any = "text"
        for write in (ours.write, lambda one: ours.write_many([one])):
            with pytest.raises(TypeError, match="encode"):
                write(text)
            with pytest.raises(EmptyMessageError):
                write(b"")
            with pytest.raises(EmptyMessageError):
                write(bytearray())
            with pytest.raises(MessageTooLargeError):
                write(bytes(101))
        ours.write(bytes(100))
        assert peer.recv_frame() == bytes(100)


def test_many_at_a_time(connect: Connect) -> None:
    with connect() as (ours, peer):
        taking = Call(peer.recv_all)
        ours.write_many([])
        ours.write_many(MESSAGES)
        ours.write_many(bytearray(b"%d" % number) for number in range(3000))
        ours.close()
        assert taking.result() == MESSAGES + [b"%d" % number for number in range(3000)]


def test_many_of_which_one_fails(connect: Connect) -> None:
    """What came before it is sent up to some message, and each of those whole."""
    with connect() as (ours, peer):
        messages = (bytes(10_000) if number < 10 else b"" for number in count())
        with pytest.raises(EmptyMessageError):
            ours.write_many(messages)
        ours.write(b"goes on")
        got = []
        while (one := peer.recv_frame()) != b"goes on":
            got.append(one)
        assert got == [bytes(10_000)] * len(got)
        assert len(got) <= 10


def test_many_wait_until_the_kernel_has_them(connect: Connect) -> None:
    with connect() as (ours, peer):
        writing = Call(ours.write_many, [bytes(100_000)] * 100)
        until_blocked(ours)
        assert not writing.done()
        for _ in range(100):
            assert peer.recv_frame() == bytes(100_000)
        writing.result()


def test_backpressure(connect: Connect) -> None:
    """A reader that does not read holds the writer up, and loses nothing by it."""
    with connect() as (ours, peer):
        giving = Call(peer.send, frame(bytes(100_000)) * 100)
        assert ours.read() == bytes(100_000)
        assert ours.connected
        assert not giving.done()
        assert [ours.read(30) for _ in range(99)] == [bytes(100_000)] * 99
        giving.result()


def test_iteration_and_with(transport: Any) -> None:
    with pair(transport) as (server, client):
        with server, client:
            server.write(b"one")
            server.write(b"two")
            closing = Call(server.close)
            assert list(client) == [b"one", b"two"]
        closing.result()
        assert list(client) == []
        assert client.end_reason == "clean"
        assert server.end_reason == "local"
