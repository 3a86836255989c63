"""Writes that fail, and which end of the session they are told of."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

import raw
from conftest import Connect
from ipc_channel import (
    ChannelClosedError,
    FrameTooLargeError,
    PeerError,
    PeerGoneError,
    ResetError,
    TruncatedError,
)
from raw import CLOSE, PATIENCE, frame
from waiting import until_blocked


@pytest.mark.covers("SES-23")
async def test_a_waiting_write_fails_when_the_peer_goes(connect: Connect) -> None:
    async with connect() as (ours, peer):
        writing = [asyncio.create_task(ours.write(bytes(20 * 2**20))) for _ in range(3)]
        await until_blocked(ours)
        peer.close()
        for task in writing:
            with pytest.raises(PeerError) as caught:
                await asyncio.wait_for(task, 1)
            assert isinstance(caught.value, ConnectionError)
            assert isinstance(caught.value.__cause__, ConnectionError)
            assert caught.value.code in ("peer-gone", "reset")


@pytest.mark.covers("SES-23")
async def test_writing_to_a_peer_that_left_fails_by_the_second_write(
    connect: Connect,
) -> None:
    async with connect() as (ours, peer):
        peer.close()
        await ours.read()
        with pytest.raises(PeerError) as caught:
            for _ in range(2):
                await ours.write(b"x")
        assert caught.value.code == "peer-gone"


@pytest.mark.covers("SES-4")
async def test_one_direction_ended_the_other_goes_on(connect: Connect) -> None:
    async with connect() as (ours, peer):
        peer.send(frame(b"last") + CLOSE)
        assert await ours.read() == b"last"
        assert await ours.read() is None
        peer.end_writing()
        for size in (1, 100, 300_000):
            receiving = asyncio.to_thread(peer.recv_frame)
            got, _ = await asyncio.gather(receiving, ours.write(b"y" * size))
            assert got == b"y" * size
        assert ours.end_reason == "clean"


@pytest.mark.covers("SES-24")
@pytest.mark.parametrize("transport", ["named_pipe"])  # a socket has one end for both
async def test_reading_goes_on_when_the_peer_reads_no_more(connect: Connect) -> None:
    async with connect() as (ours, peer):
        peer.end_reading()
        with pytest.raises(ConnectionError):
            await ours.write(b"nobody reads")
        peer.send(frame(b"but I write"))
        assert await ours.read() == b"but I write"


@pytest.mark.covers("SES-24", "SES-26", "SES-36")
async def test_any_other_failed_write(connect: Connect) -> None:
    """It says nothing of the other direction, which is read to its end."""

    def fail(buffers: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with connect() as (ours, peer):
        peer.send(frame(b"first"))  # so that an end of a named pipe is the peer's
        assert await ours.read() == b"first"
        ours.session.stream.write = fail  # type: ignore[attr-defined]  # looks inside
        for _ in range(2):
            with pytest.raises(PeerGoneError, match=os.strerror(errno.EIO)):
                await ours.write(b"x")
        del ours.session.stream.write  # type: ignore[attr-defined]
        peer.send(frame(b"still read"))
        assert await ours.read() == b"still read"
        peer.end_writing()
        assert await ours.read() is None
        assert ours.end_reason == "eof"
        closing = asyncio.create_task(ours.close())
        assert await asyncio.to_thread(peer.recv, 4) == b""
        peer.close()
        await closing


async def test_a_channel_that_cannot_write_is_not_connected(
    role: str, tmp_path: Path
) -> None:
    async with raw.connected("named_pipe", role, tmp_path) as (ours, peer):
        peer.end_reading()
        with pytest.raises(ConnectionError):
            for _ in range(2):
                await ours.write(b"x")
        assert await ours.connect(0) is False


@pytest.mark.covers("SES-33")
async def test_a_pending_write_ends_with_the_channel(connect: Connect) -> None:
    async with connect(linger=0.05) as (ours, _):
        writing = [asyncio.create_task(ours.write(bytes(20 * 2**20))) for _ in range(3)]
        await until_blocked(ours)
        await ours.close()
        for task in writing:
            with pytest.raises(ChannelClosedError):
                await task


async def test_the_error_of_a_session_outlives_close(connect: Connect) -> None:
    async with connect() as (ours, peer):
        peer.close()
        with pytest.raises(ConnectionError) as caught:
            while True:
                await ours.write(b"x")
                await asyncio.sleep(0)
        await ours.close()
        assert isinstance(ours.last_exception, type(caught.value))


@pytest.mark.parametrize("transport", ["tcp"])  # a named pipe cannot be reset
async def test_pending_writes_end_with_a_reset(connect: Connect) -> None:
    async with connect() as (ours, peer):
        peer.reset()
        with pytest.raises(ResetError):
            await ours.read()
        with pytest.raises(ResetError):
            await ours.write(b"x")


@pytest.mark.covers("SES-23", "SES-26")
async def test_every_waiting_writer_is_told_of_a_peer_over_the_limit(
    connect: Connect,
) -> None:
    size = 8 * 2**20
    async with connect(max_message_size=size, linger=0) as (ours, peer):
        writes = [asyncio.create_task(ours.write(bytes(size))) for _ in range(5)]
        await until_blocked(ours)
        peer.send((size + 1).to_bytes(4, "big"))
        with pytest.raises(FrameTooLargeError):
            await ours.read()
        found = await asyncio.gather(*writes, return_exceptions=True)
        waited = [one for one in found if one is not None]
        assert len(waited) >= 3
        assert all(isinstance(one, FrameTooLargeError) for one in waited)


async def test_nothing_is_sent_to_a_peer_over_the_limit(connect: Connect) -> None:
    async with connect(max_message_size=10, linger=PATIENCE) as (ours, peer):
        peer.send((11).to_bytes(4, "big"))
        with pytest.raises(FrameTooLargeError):
            await ours.read()
        with pytest.raises(FrameTooLargeError):
            await ours.write(b"never sent")
        closing = asyncio.create_task(ours.close())
        assert await asyncio.to_thread(peer.recv_all) == []
        peer.close()
        await closing


async def test_the_error_of_reading_tells_more_than_that_of_writing(
    connect: Connect,
) -> None:
    async with connect() as (ours, peer):
        peer.send(b"\0\0")
        peer.close()
        with pytest.raises((TruncatedError, ResetError)) as caught:
            await ours.read()
        with pytest.raises(ConnectionError):
            while True:
                await ours.write(b"x")
                await asyncio.sleep(0)
        assert isinstance(ours.last_exception, type(caught.value))


@pytest.mark.covers("SES-36")
async def test_a_close_after_a_failed_write_waits_for_nothing(connect: Connect) -> None:
    """There is nothing that the peer could still take."""
    async with connect(linger=10 * PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await asyncio.to_thread(peer.recv, 100)
        peer.close()
        await asyncio.wait({writing})
        assert writing.exception() is not None
        sender = ours.session.sender  # type: ignore[attr-defined]  # looks inside
        assert sender.close().done()
        assert sender.size == 0
        await asyncio.wait_for(ours.close(), PATIENCE)


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
async def test_a_write_that_fails_within_a_large_message_tells_of_the_limit(
    connect: Connect, byte: bytes
) -> None:
    """Whatever the message holds: its bytes are no frames, and are not looked at."""
    message = byte * 20 * 2**20
    async with connect() as (ours, peer):
        writing = asyncio.create_task(ours.write(message))
        await asyncio.to_thread(peer.recv, 100)
        peer.close()
        with pytest.raises((PeerGoneError, ResetError)):
            await writing
        with pytest.raises((PeerGoneError, ResetError)) as caught:
            await ours.write(b"after that")
        if isinstance(caught.value, PeerGoneError):
            assert f"a message of {len(message)} bytes was sent only in part" in str(
                caught.value
            )
