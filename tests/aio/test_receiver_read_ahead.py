"""How much is read ahead, and that the loop gets its turns."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any

import pytest

from conftest import Connect
from ipc_channel import (
    PeerGoneError,
    ResetError,
)
from ipc_channel.aio.receiver import _CHUNK, MESSAGES_AHEAD, READ_AHEAD
from raw import CLOSE, PATIENCE, eventually, frame
from reading import read_to_end


@pytest.mark.covers("SES-12")
async def test_a_large_message_behind_a_small_one(connect: Connect) -> None:
    large = bytes(1_000_000)
    async with connect() as (ours, peer):
        sending = asyncio.create_task(
            asyncio.to_thread(peer.send, frame(b"small") + frame(large))
        )
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: not receiver.reading)  # the read-ahead is full
        assert await ours.read() == b"small"
        assert await ours.read() == large
        await sending


async def test_read_ahead_counts_what_was_delivered(connect: Connect) -> None:
    async with connect() as (ours, peer):
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
        for _ in range(20):
            sending = asyncio.to_thread(peer.send, frame(bytes(50_000)))
            await asyncio.gather(sending, ours.read())
        assert receiver.inbox.buffered == 0


async def test_reading_goes_on_when_all_was_delivered(connect: Connect) -> None:
    count = 2_000
    async with connect() as (ours, peer):
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
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
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
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
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
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
        if peer.sock.family != socket.AF_UNIX:
            peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reading = asyncio.create_task(read_twice())
        writing = asyncio.create_task(
            ours.write(bytes(20 * 2**20))
        )  # is stuck, and watched
        await asyncio.to_thread(peer.send, frame(message)[:-1])
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: payload_of(receiver) == READ_AHEAD)
        peer.send(message[-1:])
        peer.reset()
        await asyncio.wait_for(reading, PATIENCE)
        with pytest.raises((PeerGoneError, ResetError)):
            await writing


def payload_of(receiver: Any) -> int:
    payload = receiver.decoder.payload
    return 0 if payload is None else int(payload.filled)
