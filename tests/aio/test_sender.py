"""What a writer may rely on: whole frames in order, back-pressure, cancellation."""

from __future__ import annotations

import array
import asyncio
import random
from typing import Any

import pytest

from conftest import Connect
from ipc_channel import (
    EmptyMessageError,
    MessageTooLargeError,
)
from ipc_channel.aio.sender import WRITE_AHEAD
from raw import CLOSE, eventually, frame
from waiting import until_blocked, until_waits


@pytest.mark.covers("FRM-1", "FRM-2")
async def test_what_goes_over_the_wire(connect: Connect) -> None:
    async with connect() as (ours, peer):
        await ours.write(b"hello")
        await ours.write(b"x" * 300)
        assert await asyncio.to_thread(peer.recv, 9) == bytes.fromhex("00000005") + b"hello"
        assert (
            await asyncio.to_thread(peer.recv, 304)
            == bytes.fromhex("0000012c") + b"x" * 300
        )
        await asyncio.gather(ours.close(), asyncio.to_thread(_read_close_and_leave, peer))


def _read_close_and_leave(peer: Any) -> None:
    assert peer.recv(100) == CLOSE
    peer.close()


async def test_bytes_like_messages(connect: Connect) -> None:
    numbers = array.array("I", range(1000))
    async with connect() as (ours, peer):
        for data in (
            bytearray(b"abc"),
            memoryview(b"abc"),
            numbers,
            memoryview(numbers)[::2],
        ):
            await ours.write(data)
            assert await asyncio.to_thread(peer.recv_frame) == memoryview(data).tobytes()


@pytest.mark.covers("FRM-4", "FRM-7", "SES-25")
@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyMessageError),
        (b"x" * 101, MessageTooLargeError),
        ("text", TypeError),
        (None, TypeError),
    ],
)
async def test_a_refused_message_sends_nothing(
    connect: Connect, data: Any, error: type[Exception]
) -> None:
    async with connect(max_message_size=100) as (ours, peer):
        with pytest.raises(error):
            await ours.write(data)
        await ours.write(b"x" * 100)
        assert await asyncio.to_thread(peer.recv_frame) == b"x" * 100


async def test_a_message_may_be_changed_once_written(connect: Connect) -> None:
    data = bytearray(1000)
    async with connect() as (ours, peer):
        for number in range(1, 6):
            data[:] = bytes([number]) * 1000
            await ours.write(data)
        for number in range(1, 6):
            assert await asyncio.to_thread(peer.recv_frame) == bytes([number]) * 1000


@pytest.mark.covers("SES-22")
async def test_a_write_waits_for_the_reader(connect: Connect) -> None:
    messages = [bytes([number]) * 2**20 for number in range(8)]
    async with connect() as (ours, peer):
        writing = asyncio.create_task(_write_all(ours, messages))
        sender = ours.session.sender  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: sender._watching)
        await asyncio.sleep(0.05)  # in which more would be queued
        assert not writing.done()
        assert sender.size <= WRITE_AHEAD + len(frame(messages[0]))
        for message in messages:
            assert await asyncio.to_thread(peer.recv_frame) == message
        await writing
        assert not sender._drain_waiters


async def _write_all(channel: Any, messages: list[bytes]) -> None:
    for message in messages:
        await channel.write(message)


@pytest.mark.covers("SES-22")
async def test_the_queue_is_bounded_when_waiting_writes_are_cancelled(
    connect: Connect,
) -> None:
    async with connect(linger=0) as (ours, peer):
        sender = ours.session.sender  # type: ignore[attr-defined]  # looks inside
        for _ in range(50):
            writing = asyncio.create_task(ours.write(bytes(2**20)))
            await asyncio.wait({writing}, timeout=0.002)
            writing.cancel()
            await asyncio.wait({writing})
        assert sender.size <= WRITE_AHEAD + 2**20 + 4
        assert not sender._blocked_writers
        peer.close()


async def test_both_ends_send_three_megabytes_at_once(connect: Connect) -> None:
    there, back = bytes([1]) * 3_000_000, bytes([2]) * 3_000_000
    async with connect() as (ours, peer):
        sending = asyncio.to_thread(peer.send, frame(back))
        writing = asyncio.create_task(ours.write(there))
        _, got = await asyncio.gather(sending, ours.read())
        assert got == back
        assert await asyncio.to_thread(peer.recv_frame) == there
        await writing


@pytest.mark.covers("SES-20")
async def test_writers_do_not_interleave(connect: Connect) -> None:
    async with connect() as (ours, peer):
        messages = [bytes([number]) * 100_000 for number in range(10)]
        writing = [asyncio.create_task(ours.write(message)) for message in messages]
        got = [await asyncio.to_thread(peer.recv_frame) for _ in messages]
        await asyncio.gather(*writing)
        assert got == messages, "and they keep the order in which they were started"


@pytest.mark.covers("SES-21")
async def test_cancelled_writes_are_whole_or_not_there(connect: Connect) -> None:
    source = random.Random(5)
    messages = [
        bytes([number]) * source.choice([10, 5000, 70_000, 700_000]) for number in range(60)
    ]
    async with connect() as (ours, peer):
        receiving = asyncio.create_task(asyncio.to_thread(peer.recv_all))
        finished = set()
        for message in messages:
            writing = asyncio.create_task(ours.write(message))
            await asyncio.wait({writing}, timeout=source.choice([None, 0, 0.0005]))
            writing.cancel()
            await asyncio.wait({writing})
            if not writing.cancelled():
                finished.add(message[0])
        await ours.close()
        got = await receiving
        assert [m for m in got if m not in messages] == [], "a torn frame"
        numbers = [message[0] for message in got]
        assert numbers == sorted(set(numbers)), "doubled, or out of order"
        assert finished <= set(numbers), "lost"


@pytest.mark.covers("SES-21")
async def test_a_write_cancelled_before_its_turn_is_not_sent(connect: Connect) -> None:
    async with connect() as (ours, peer):
        first = asyncio.create_task(ours.write(b"1" * 5_000_000))
        second = asyncio.create_task(ours.write(b"2" * 5_000_000))
        third = asyncio.create_task(ours.write(b"3" * 5_000_000))
        await until_waits(third)
        second.cancel()
        await asyncio.wait({second})
        assert await asyncio.to_thread(peer.recv_frame) == b"1" * 5_000_000
        assert await asyncio.to_thread(peer.recv_frame) == b"3" * 5_000_000
        await asyncio.gather(first, third)


async def test_a_write_cancelled_in_its_turn_is_sent_once(connect: Connect) -> None:
    async with connect() as (ours, peer):
        sender = ours.session.sender  # type: ignore[attr-defined]  # looks inside
        first = asyncio.create_task(ours.write(b"1" * 5_000_000))
        second = asyncio.create_task(ours.write(b"2" * 5_000_000))
        await eventually(lambda: len(sender._blocked_writers) == 1)
        admitted, _ = sender._blocked_writers[0]
        receiving = asyncio.create_task(asyncio.to_thread(peer.recv_frame))
        while not admitted.done():
            await asyncio.sleep(0)
        second.cancel()  # its frame is in the queue by now, and the task has not run since
        with pytest.raises(asyncio.CancelledError):
            await second
        third = asyncio.create_task(ours.write(b"3"))
        assert await receiving == b"1" * 5_000_000
        assert await asyncio.to_thread(peer.recv_frame) == b"2" * 5_000_000
        assert await asyncio.to_thread(peer.recv_frame) == b"3"
        await asyncio.gather(first, third)


async def test_a_write_that_had_to_wait_its_turn_waits_for_the_peer(
    connect: Connect,
) -> None:
    async with connect(linger=0) as (ours, peer):
        size = 20 * 2**20
        writes = [asyncio.create_task(ours.write(bytes(size))) for _ in range(2)]
        assert await asyncio.to_thread(peer.recv_frame) == bytes(size)
        await writes[0]
        await until_blocked(ours)  # the second is in the queue, but not in the kernel
        assert not writes[1].done()
        await ours.close()
        await asyncio.gather(*writes, return_exceptions=True)


async def test_ten_thousand_small_messages_in_one_turn(connect: Connect) -> None:
    messages = [b"%d" % number for number in range(10_000)]
    async with connect() as (ours, peer):

        async def write() -> None:
            for message in messages:
                await ours.write(message)

        writing = asyncio.create_task(write())
        got = await asyncio.to_thread(lambda: [peer.recv_frame() for _ in messages])
        await writing
        assert got == messages


@pytest.mark.covers("SES-20")
async def test_small_and_large_messages_of_one_turn_keep_their_order(
    connect: Connect,
) -> None:
    sizes = [1, 2, 3, 4, 5, 5000, 6, 70_000, 7, 4096, 4097, 8, 9, 200_000, 10]
    messages = [bytes([number]) * size for number, size in enumerate(sizes)]
    async with connect() as (ours, peer):
        writes = [asyncio.create_task(ours.write(message)) for message in messages]
        for message in messages:
            assert await asyncio.to_thread(peer.recv_frame) == message
        await asyncio.gather(*writes)
