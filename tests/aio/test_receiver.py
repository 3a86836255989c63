"""What a reader gets: messages however they are cut, the ends, and cancelled reads."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import socket
from typing import Any

import pytest

import vectors
from conftest import Connect
from ipc_channel import (
    FrameTooLargeError,
    IPCChannelClient,
    IPCChannelError,
    PeerError,
    PeerGoneError,
    ResetError,
    TruncatedError,
)
from ipc_channel.aio.receiver import _CHUNK, MESSAGES_AHEAD, READ_AHEAD
from raw import CLOSE, PATIENCE, TRANSPORTS, eventually, frame

SIZES = [1, 4092, *range(65531, 65538), 2**20, 5 * 2**20]
ENDS = {case["id"]: case for case in vectors.load("ends")}


async def read_to_end(channel: IPCChannelClient) -> tuple[list[bytes], str | None]:
    """Return all messages and the code of the error that came after them."""
    messages = []
    try:
        while (message := await channel.read()) is not None:
            messages.append(message)
    except IPCChannelError as error:
        return messages, error.code
    return messages, None


@pytest.mark.covers("FRM-2")
async def test_sizes(connect: Connect) -> None:
    source = random.Random(1)
    async with connect() as (ours, peer):
        for size in SIZES:
            message = source.randbytes(size)
            sending = asyncio.to_thread(peer.send, frame(message))
            _, got = await asyncio.gather(sending, ours.read())
            assert got == message
            receiving = asyncio.to_thread(peer.recv_frame)
            got, _ = await asyncio.gather(receiving, ours.write(message))
            assert got == message


@pytest.mark.covers("FRM-2")
async def test_one_byte_per_write(connect: Connect) -> None:
    wire = frame(b"abc") + frame(b"d") + frame(b"ef") + CLOSE
    async with connect() as (ours, peer):
        reading = asyncio.create_task(read_to_end(ours))
        for position in range(len(wire)):
            peer.send(wire[position : position + 1])
            await asyncio.sleep(0)
        assert await reading == ([b"abc", b"d", b"ef"], None)
        assert ours.end_reason == "clean"


async def test_header_and_payload_apart(connect: Connect) -> None:
    async with connect() as (ours, peer):
        reading = asyncio.create_task(ours.read())
        peer.send(frame(b"abc")[:4])
        await asyncio.sleep(0.05)
        assert not reading.done()
        peer.send(b"abc")
        assert await reading == b"abc"


async def test_every_split(connect: Connect) -> None:
    wire = frame(b"abc") + frame(b"d") + frame(b"ef")
    async with connect() as (ours, peer):
        for cut in range(len(wire) + 1):
            peer.send(wire[:cut])
            await asyncio.sleep(0)
            peer.send(wire[cut:])
            assert [await ours.read() for _ in range(3)] == [b"abc", b"d", b"ef"]


async def test_thousand_frames_in_one_write(connect: Connect) -> None:
    messages = [b"%d" % number for number in range(1000)]
    async with connect() as (ours, peer):
        peer.send(b"".join(map(frame, messages)))
        assert [await ours.read() for _ in messages] == messages


async def test_all_byte_values(connect: Connect) -> None:
    async with connect() as (ours, peer):
        peer.send(frame(bytes(range(256))) + frame(bytes(4)))
        assert await ours.read() == bytes(range(256))
        assert await ours.read() == bytes(4)


@pytest.mark.covers("FRM-8")
async def test_limit(connect: Connect) -> None:
    async with connect(max_message_size=100) as (ours, peer):
        peer.send(frame(b"x" * 100) + (101).to_bytes(4, "big"))
        assert await ours.read() == b"x" * 100
        for _ in range(2):
            with pytest.raises(
                FrameTooLargeError, match=r"frame of 101 bytes .* limit of 100"
            ):
                await ours.read()
        assert ours.end_reason == "too_large"
        with pytest.raises(FrameTooLargeError):
            await ours.write(b"the session is over")
    assert isinstance(ours.last_exception, FrameTooLargeError)


@pytest.mark.covers("SES-5")
@pytest.mark.parametrize(
    ("transport", "id_"),
    [
        (transport, id_)
        for transport in TRANSPORTS
        for id_, case in ENDS.items()
        if transport == "tcp" or case["then"] != "reset"  # which a named pipe cannot be
    ],
)
async def test_ends(connect: Connect, id_: str) -> None:
    case = ENDS[id_]
    async with connect() as (ours, peer):
        peer.send(vectors.to_bytes(case["wire"]))
        messages = vectors.to_messages(case["messages"])
        got = [await ours.read() for _ in messages]
        if case["then"] == "reset":
            peer.reset()
        else:
            peer.close()
        for _ in range(3):  # an end stays what it is
            assert await read_to_end(ours) == ([], case["error"])
            assert ours.end_reason == case["end_reason"]
        assert got == messages
        assert (ours.last_exception is None) == (case["error"] is None)
        with pytest.raises(ConnectionError):
            for _ in range(3):  # TCP notices with the second write at the latest
                await ours.write(b"x" * 100)
                await asyncio.sleep(0)


@pytest.mark.covers("FRM-10")
@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6])
async def test_cut_anywhere_in_a_frame(connect: Connect, cut: int) -> None:
    async with connect() as (ours, peer):
        peer.send(frame(b"whole") + frame(b"cut")[:cut])
        peer.close()
        assert await ours.read() == b"whole"
        with pytest.raises(TruncatedError) as caught:
            await ours.read()
        assert isinstance(caught.value, asyncio.IncompleteReadError)
        assert len(caught.value.partial) == (cut if cut < 4 else cut - 4)


@pytest.mark.covers("FRM-3", "FRM-5")
async def test_frames_after_the_close_frame_are_ignored(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ipc_channel")
    async with connect() as (ours, peer):
        peer.send(frame(b"a") + CLOSE + frame(b"b") + b"\xff\xff\xff\xff")
        assert await read_to_end(ours) == ([b"a"], None)
        assert ours.end_reason == "clean"
        assert "session ended: clean" in caplog.text
        assert not ours._session.receiver.reading  # type: ignore[attr-defined]  # looks inside


@pytest.mark.covers("SES-2", "SES-24")
async def test_messages_that_arrived_outlive_a_failed_write(
    connect: Connect, transport: str
) -> None:
    # More than is read ahead, but no more than a pipe of 64 KiB takes besides.
    messages = [b"%d" % number * 1500 for number in range(10, 110)]
    async with connect() as (ours, peer):
        sending = asyncio.to_thread(peer.send, b"".join(map(frame, messages)))
        _, first = await asyncio.gather(sending, ours.read())
        await asyncio.sleep(0)
        peer.close()
        with pytest.raises(ConnectionError):
            while True:
                await ours.write(b"nobody reads this")
                await asyncio.sleep(0)
        rest, error = await read_to_end(ours)
        assert [first, *rest] == messages
        if transport == "named_pipe":  # over TCP it depends on what came first
            assert (error, ours.end_reason) == (None, "eof")


@pytest.mark.covers("SES-11")
async def test_two_readers_share_the_messages(connect: Connect) -> None:
    messages = [b"%d" % number for number in range(2000)]
    async with connect() as (ours, peer):
        readers = [asyncio.create_task(read_to_end(ours)) for _ in range(2)]
        await asyncio.to_thread(peer.send, b"".join(map(frame, messages)) + CLOSE)
        shares = [share for share, _ in await asyncio.gather(*readers)]
        assert sorted(shares[0] + shares[1]) == sorted(messages)
        for share in shares:
            assert share == sorted(share, key=int)


@pytest.mark.covers("SES-11")
async def test_a_hundred_waiting_readers_get_one_message_each(connect: Connect) -> None:
    async with connect() as (ours, peer):
        readers = [asyncio.create_task(ours.read()) for _ in range(100)]
        await asyncio.sleep(0)
        for number in range(100):
            peer.send(frame(b"%d" % number))
        got = await asyncio.gather(*readers)
        assert sorted(map(int, filter(None, got))) == list(range(100))


@pytest.mark.covers("SES-10")
async def test_a_timeout_of_an_idle_read_loses_nothing(connect: Connect) -> None:
    async with connect() as (ours, peer):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ours.read(), 0.01)
        peer.send(frame(b"still here"))
        assert await ours.read() == b"still here"


@pytest.mark.covers("SES-10")
@pytest.mark.parametrize("cut", [1, 3, 4, 5, 100_000])
async def test_a_read_cancelled_inside_a_frame_loses_nothing(
    connect: Connect, cut: int
) -> None:
    message = random.Random(cut).randbytes(200_000)
    async with connect() as (ours, peer):
        reading = asyncio.create_task(ours.read())
        await asyncio.to_thread(peer.send, frame(message)[:cut])
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        sending = asyncio.to_thread(peer.send, frame(message)[cut:])
        _, got = await asyncio.gather(sending, ours.read())
        assert got == message


async def test_a_reader_woken_and_cancelled_at_once_passes_the_message_on(
    connect: Connect,
) -> None:
    async with connect() as (ours, peer):
        first, second, third = (asyncio.create_task(ours.read()) for _ in range(3))
        await asyncio.sleep(0)

        waiter = ours._session.receiver.inbox._readers[1]  # type: ignore[attr-defined]  # looks inside
        peer.send(frame(b"one") + frame(b"other"))
        while not waiter.done():
            await asyncio.sleep(0)
        assert first.done(), "it goes on in the turn that brings its message"
        assert not second.done()
        second.cancel()
        assert await first == b"one"
        assert await third == b"other"
        with pytest.raises(asyncio.CancelledError):
            await second


@pytest.mark.covers("SES-10")
async def test_a_reader_cancelled_all_the_time(connect: Connect) -> None:
    """30,000 messages of mixed sizes, the read cancelled every millisecond."""
    source = random.Random(3)
    sizes = [source.choice([1, 10, 64, 300, 5000]) for _ in range(29_990)] + [300_000] * 10
    source.shuffle(sizes)
    messages = [
        number.to_bytes(4, "big") + bytes(size) for number, size in enumerate(sizes)
    ]
    got: list[bytes | None] = []
    async with connect() as (ours, peer):

        async def read() -> None:
            while len(got) < len(messages):
                got.append(await ours.read())

        wire = b"".join(map(frame, messages))
        sending = asyncio.create_task(asyncio.to_thread(peer.send, wire))
        cancelled = 0
        while len(got) < len(messages):
            reading = asyncio.create_task(read())
            await asyncio.wait({reading}, timeout=0.001)
            cancelled += reading.cancel()
            await asyncio.wait({reading})
        await sending
        assert cancelled > 10
        assert got == messages


async def test_async_for_ends_with_the_error(connect: Connect) -> None:
    async with connect() as (ours, peer):
        peer.send(frame(b"a") + frame(b"b") + b"\0")
        peer.close()
        got = []
        with pytest.raises(TruncatedError):
            async for message in ours:
                got.append(message)
        assert got == [b"a", b"b"]


@pytest.mark.parametrize("transport", ["tcp"])  # a named pipe cannot be reset
async def test_a_reset_wakes_everybody(connect: Connect) -> None:
    async with connect() as (ours, peer):
        reading = asyncio.create_task(ours.read())
        writing = asyncio.create_task(ours.write(bytes(50 * 2**20)))
        await asyncio.sleep(0.01)
        peer.reset()
        with pytest.raises(ResetError) as caught:
            await reading
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert caught.value.__cause__.__traceback__ is None, "it keeps the payload alive"
        with pytest.raises(PeerError):
            await writing
        assert ours.end_reason == "reset"


@pytest.mark.covers("SES-12")
async def test_a_large_message_behind_a_small_one(connect: Connect) -> None:
    large = bytes(1_000_000)
    async with connect() as (ours, peer):
        sending = asyncio.create_task(
            asyncio.to_thread(peer.send, frame(b"small") + frame(large))
        )
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: not receiver.reading)  # the read-ahead is full
        assert await ours.read() == b"small"
        assert await ours.read() == large
        await sending


async def test_read_ahead_counts_what_was_delivered(connect: Connect) -> None:
    async with connect() as (ours, peer):
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        for _ in range(20):
            sending = asyncio.to_thread(peer.send, frame(bytes(50_000)))
            await asyncio.gather(sending, ours.read())
        assert receiver.inbox.buffered == 0


async def test_reading_goes_on_when_all_was_delivered(connect: Connect) -> None:
    count = 2_000
    async with connect() as (ours, peer):
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        sending = asyncio.create_task(
            asyncio.to_thread(peer.send, frame(bytes(1_000)) * count)
        )
        await eventually(lambda: not receiver.reading)
        ahead = receiver.queued
        while receiver.queued > 1:
            await ours.read()
            assert not receiver.reading
        await ours.read()
        assert receiver.reading
        for _ in range(count - ahead):
            assert await ours.read() == bytes(1_000)
        await sending


async def test_what_comes_between_reads_counts_as_well(connect: Connect) -> None:
    few = READ_AHEAD // 1_004
    async with connect() as (ours, peer):
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        await asyncio.to_thread(peer.send, frame(bytes(1_000)) * few)
        await eventually(lambda: receiver.queued == few)
        assert receiver.reading
        await ours.read()
        peer.send(frame(bytes(1_000)))
        await eventually(lambda: not receiver.reading)


@pytest.mark.parametrize("readers", [1, 3])
async def test_tiny_messages_leave_the_loop_its_turns(
    connect: Connect, readers: int
) -> None:
    """A reader that never waits for anything else does not keep the loop to itself."""
    count = 20_000
    read_in_turns: list[int] = []
    messages: list[bytes] = []

    def count_turn() -> None:
        read_in_turns.append(len(messages))
        if not all(task.done() for task in tasks):
            loop.call_soon(count_turn)

    async def read_all(ours: Any) -> None:
        async for message in ours:
            messages.append(message)

    async with connect() as (ours, peer):
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(
            asyncio.to_thread(peer.send, frame(b"x") * count + frame(b"last") + CLOSE)
        )
        tasks = [asyncio.create_task(read_all(ours)) for _ in range(readers)]
        loop.call_soon(count_turn)
        await asyncio.wait_for(asyncio.gather(sending, *tasks), PATIENCE)
        assert len(messages) == count + 1
        assert messages[count] == b"last"
        turns = itertools.pairwise(read_in_turns)
        assert max(after - before for before, after in turns) <= 2 * 512


async def test_read_ahead_of_tiny_messages_is_bounded(connect: Connect) -> None:
    count = 500_000
    async with connect() as (ours, peer):
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        sending = asyncio.create_task(asyncio.to_thread(peer.send, frame(b"x") * count))
        await eventually(lambda: not receiver.reading)
        assert MESSAGES_AHEAD < receiver.queued <= MESSAGES_AHEAD + _CHUNK // 5 + 1
        for _ in range(count):
            assert await ours.read() == b"x"
        await sending


@pytest.mark.parametrize("end", [CLOSE, b"\xff" * 4])
async def test_an_end_just_beyond_the_read_ahead(connect: Connect, end: bytes) -> None:
    sent = [bytes(1_000)] * 300
    async with connect() as (ours, peer):
        await asyncio.to_thread(peer.send, b"".join(map(frame, sent)) + end)
        messages, code = await asyncio.wait_for(read_to_end(ours), PATIENCE)
        assert messages == sent
        assert (code is None) == (end == CLOSE)


async def test_cancelled_readers_leave_nothing(connect: Connect) -> None:
    async with connect() as (ours, _):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ours.read(), 0.001)
        assert not ours._session.receiver.inbox._readers  # type: ignore[attr-defined]  # looks inside


async def test_a_reader_that_is_being_cancelled_takes_nobodys_turn(
    connect: Connect,
) -> None:
    async with connect() as (ours, peer):
        readers = [asyncio.create_task(ours.read()) for _ in range(3)]
        await asyncio.sleep(0)
        peer.send(frame(b"first") + frame(b"second"))
        # In the turn that brings both messages, just before.
        asyncio.get_running_loop().call_soon(readers[1].cancel)
        assert await readers[0] == b"first"
        assert await asyncio.wait_for(readers[2], PATIENCE) == b"second"
        assert readers[1].cancelled()


async def test_readers_are_served_in_their_order(connect: Connect) -> None:
    async with connect() as (ours, peer):
        readers = [asyncio.create_task(ours.read()) for _ in range(5)]
        await asyncio.sleep(0)
        peer.send(frame(b"1") + frame(b"2"))
        assert await asyncio.gather(*readers[:2]) == [b"1", b"2"]
        await asyncio.sleep(0.01)
        peer.send(frame(b"3"))
        assert await readers[2] == b"3"
        assert not readers[3].done(), "nobody was woken in vain, and had to queue again"
        peer.send(frame(b"4") + frame(b"5"))
        assert await asyncio.gather(*readers[3:]) == [b"4", b"5"]


async def test_a_message_that_comes_in_the_turn_of_a_cancellation(connect: Connect) -> None:
    async with connect() as (ours, peer):
        first = asyncio.create_task(ours.read())
        second = asyncio.create_task(ours.read())
        await asyncio.sleep(0)
        peer.send(frame(b"message"))
        first.cancel()
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        asyncio.get_running_loop().call_soon(receiver._on_readable)  # before first has gone
        assert await asyncio.wait_for(second, PATIENCE) == b"message"


@pytest.mark.covers("SES-1")
async def test_an_error_is_raised_as_a_new_one_each_time(connect: Connect) -> None:
    async with connect() as (ours, peer):
        peer.send(b"\0")
        peer.close()
        caught = []
        for _ in range(2):
            with pytest.raises(TruncatedError) as error:
                await ours.read()
            caught.append(error.value)
        assert caught[0] is not caught[1]


async def test_a_reset_right_behind_a_message_that_paused_reading(connect: Connect) -> None:
    """Its reader asks for more within the callback that a loop makes of the error."""

    async def read_twice() -> None:
        assert await ours.read() == message
        with pytest.raises(ResetError):
            await ours.read()

    message = bytes(READ_AHEAD + 1)
    async with connect() as (ours, peer):
        if peer.sock is None:
            return  # named pipes know no reset
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reading = asyncio.create_task(read_twice())
        writing = asyncio.create_task(
            ours.write(bytes(20 * 2**20))
        )  # is stuck, and watched
        await asyncio.to_thread(peer.send, frame(message)[:-1])
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: payload_of(receiver) == READ_AHEAD)
        peer.send(message[-1:])
        peer.reset()
        await asyncio.wait_for(reading, PATIENCE)
        with pytest.raises((PeerGoneError, ResetError)):
            await writing


def payload_of(receiver: Any) -> int:
    payload = receiver._decoder.payload
    return 0 if payload is None else int(payload.filled)
