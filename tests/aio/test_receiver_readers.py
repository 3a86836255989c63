"""Several readers, their order, and reads that are cancelled."""

from __future__ import annotations

import asyncio
import random

import pytest

from conftest import Connect
from ipc_channel import (
    PeerError,
    ResetError,
    TruncatedError,
)
from raw import CLOSE, PATIENCE, frame
from reading import read_to_end
from waiting import until_blocked, until_taken


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
        await until_taken(ours)
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

        waiter = ours.session.receiver.inbox._readers[1]  # type: ignore[attr-defined]  # looks inside
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
        await until_blocked(ours)
        peer.reset()
        with pytest.raises(ResetError) as caught:
            await reading
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert caught.value.__cause__.__traceback__ is None, "it keeps the payload alive"
        with pytest.raises(PeerError):
            await writing
        assert ours.end_reason == "reset"


async def test_cancelled_readers_leave_nothing(connect: Connect) -> None:
    async with connect() as (ours, _):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ours.read(), 0.001)
        assert not ours.session.receiver.inbox._readers  # type: ignore[attr-defined]  # looks inside


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
        await asyncio.sleep(0.01)  # in which one that was woken in vain would queue again
        peer.send(frame(b"3"))
        assert await readers[2] == b"3"
        assert not readers[3].done(), "no reader was woken in vain, and had to queue again"
        peer.send(frame(b"4") + frame(b"5"))
        assert await asyncio.gather(*readers[3:]) == [b"4", b"5"]


async def test_a_message_that_comes_in_the_turn_of_a_cancellation(connect: Connect) -> None:
    async with connect() as (ours, peer):
        first = asyncio.create_task(ours.read())
        second = asyncio.create_task(ours.read())
        await asyncio.sleep(0)
        peer.send(frame(b"message"))
        first.cancel()
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
        asyncio.get_running_loop().call_soon(receiver.on_readable)  # before first has gone
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
