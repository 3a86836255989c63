"""What a reader gets: messages however they are cut, and the ends."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

import vectors
from conftest import Connect
from ipc_channel import (
    FrameTooLargeError,
    TruncatedError,
)
from raw import CLOSE, TRANSPORTS, frame
from reading import read_to_end

SIZES = [1, 4092, *range(65531, 65538), 2**20, 5 * 2**20]
ENDS = {case["id"]: case for case in vectors.load("ends")}


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
        await asyncio.sleep(0.05)  # in which the header would pass for a message
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
        assert not ours.session.receiver.reading  # type: ignore[attr-defined]  # looks inside


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
