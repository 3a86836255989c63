"""Closing: in every state, and what the peer, readers and writers get."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

import raw
from conftest import Connect
from ipc_channel import (
    ChannelClosedError,
    FrameTooLargeError,
    IPCChannelClient,
)
from raw import CLOSE, PATIENCE, eventually, frame, make
from waiting import until_blocked, until_closing, until_connect_waits, until_waits


@pytest.mark.covers("SES-30")
async def test_close_in_every_state(
    role: str, transport: str, tmp_path: Path, connect: Connect
) -> None:
    ours = make(role, transport, tmp_path)
    await ours.close()
    await ours.close()
    ours = make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE))
    await until_connect_waits(ours)
    await ours.close()
    assert await connecting is False
    for state in (
        "open",
        "reading",
        "writing",
        "ended",
        "torn",
        "too large",
        "write failed",
    ):
        (directory := tmp_path / state).mkdir()
        async with raw.connected(transport, role, directory, linger=0.05) as (ours, peer):
            task = asyncio.create_task(_bring_into(state, ours, peer))
            await (
                until_waits(task)
                if state in ("reading", "writing")
                else asyncio.wait({task})
            )
            await ours.close()
            await ours.close()
            assert ours.end_reason is not None
            await asyncio.gather(task, return_exceptions=True)


async def _bring_into(state: str, ours: IPCChannelClient, peer: raw.Raw) -> None:
    if state == "reading":
        await ours.read()
    elif state == "writing":
        await ours.write(bytes(20 * 2**20))
    elif state in ("ended", "torn", "write failed"):
        peer.send(b"\0" if state == "torn" else b"")
        peer.close()
        if state == "write failed":
            await ours.write(b"x")
            await ours.write(b"x")
        await ours.read()
    elif state == "too large":
        peer.send(b"\xff\xff\xff\xff")
        await ours.read()


@pytest.mark.covers("SES-26")
@pytest.mark.parametrize("end", ["too large", "write failed"])
async def test_a_write_after_close_is_told_of_that(connect: Connect, end: str) -> None:
    """Whatever made writes fail before."""
    async with connect(linger=0) as (ours, peer):
        with contextlib.suppress(ConnectionError, FrameTooLargeError):
            await _bring_into(end, ours, peer)
        with pytest.raises((ConnectionError, FrameTooLargeError)) as before:
            while True:
                await ours.write(b"x")
        assert not isinstance(before.value, ChannelClosedError)
        await ours.close()
        with pytest.raises(ChannelClosedError):
            await ours.write(b"x")


@pytest.mark.covers("SES-36")
async def test_nothing_follows_a_frame_that_cannot_be_completed(connect: Connect) -> None:
    async with connect(linger=0) as (ours, peer):
        message = bytes(20 * 2**20)
        writing = asyncio.create_task(ours.write(message))
        await until_blocked(ours)
        await ours.close()
        with pytest.raises(ChannelClosedError):
            await writing
        # No close frame either, which would read as a part of the message.
        wire = frame(message)
        got = await asyncio.to_thread(_receive_what_there_is, peer, len(wire))
        assert 4 < len(got) < len(wire)
        assert wire.startswith(got)


def _receive_what_there_is(peer: raw.Raw, size: int) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := peer.recv(min(65536, size - len(got))):
            got += data
    return got


@pytest.mark.covers("SES-31")
async def test_everything_written_arrives_before_the_end(connect: Connect) -> None:
    messages = [b"%d" % number * 10_000 for number in range(200)]
    async with connect() as (ours, peer):
        # Unread input at the closing end would make the kernel throw output away.
        peer.send(frame(b"never read") * 100)

        async def write_and_close() -> None:
            for message in messages:
                await ours.write(message)
            await ours.close()

        closing = asyncio.create_task(write_and_close())
        assert await asyncio.to_thread(peer.recv_all) == messages
        peer.close()
        await closing
        assert ours.end_reason == "local"


@pytest.mark.covers("SES-33")
async def test_close_wakes_readers(connect: Connect) -> None:
    async with connect() as (ours, _):
        readers = [asyncio.create_task(ours.read()) for _ in range(3)]
        await asyncio.sleep(0)
        await ours.close()
        assert await asyncio.gather(*readers) == [None, None, None]
        assert await ours.read() is None
        assert ours.end_reason == "local"


async def test_a_stuck_stream_is_not_ended_as_if_all_were_sent(connect: Connect) -> None:
    async with connect(linger=0) as (ours, _):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await until_blocked(ours)
        session = ours.session  # type: ignore[attr-defined]  # looks inside
        session.stream.finish_writing = lambda: pytest.fail("not all was sent")
        await ours.close()
        with pytest.raises(ChannelClosedError):
            await writing


@pytest.mark.covers("SES-6")
@pytest.mark.parametrize("end", [b"", CLOSE, b"\0", b"\xff\xff\xff\xff"])
async def test_an_own_close_before_the_reader_has_all_is_the_end(
    connect: Connect, end: bytes
) -> None:
    async with connect(linger=0) as (ours, peer):
        peer.send(frame(b"queued") + end)
        if end == b"\0":
            peer.close()
        await eventually(lambda: ours.session.queued == 1)  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: ours.connected == (not end))
        assert ours.end_reason is None
        await ours.close()
        assert await ours.read() is None
        assert ours.end_reason == "local"


async def test_nothing_is_read_once_closing_has_begun(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        peer.send(frame(b"queued"))
        await eventually(lambda: ours.session.queued == 1)  # type: ignore[attr-defined]  # looks inside
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await until_blocked(ours)
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0)
        peer.send(frame(b"late"))
        await asyncio.sleep(0.02)  # in which it would be read
        assert await ours.read() is None
        with pytest.raises(ChannelClosedError):  # at once, not after the linger
            await asyncio.wait_for(writing, 1)
        assert not closing.done()
        peer.close()
        await closing


@pytest.mark.covers("SES-31")
async def test_nothing_follows_the_close_frame(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0)
        with pytest.raises(ChannelClosedError):
            await ours.write(b"too late")
        assert await asyncio.to_thread(peer.recv_all) == []
        assert await asyncio.to_thread(peer.is_ended)
        peer.close()
        await closing


@pytest.mark.covers("SES-35", "SES-36", "SES-60")
@pytest.mark.parametrize("transport", ["tcp"])
async def test_an_interrupted_session_is_drained_as_well(connect: Connect) -> None:
    """It sends nothing more, but a reset would cost the peer what was sent before."""
    async with connect(linger=PATIENCE) as (ours, peer):
        await ours.write(b"sent before")
        ours.session._on_interrupt(KeyboardInterrupt())  # type: ignore[attr-defined]  # looks inside
        peer.send(frame(bytes(50_000)))
        closing = asyncio.create_task(ours.close())
        await until_closing(ours)
        peer.send(frame(b"and on"))
        assert await asyncio.to_thread(peer.recv, 100) == frame(b"sent before")
        peer.close()
        await closing
