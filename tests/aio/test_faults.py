"""Faults on this side: what follows a failed write, logging that raises, the peer's limit."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator

import pytest

from conftest import Connect
from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    PeerGoneError,
    ResetError,
    make_ipc_channel_client,
)
from raw import CLOSE, PATIENCE, eventually, frame


@pytest.mark.covers("SES-36")
async def test_nothing_follows_a_failed_write(paths: tuple[str, str]) -> None:
    """Not even when the pipe is read again, and the close frame would complete the frame."""
    to_us, from_us = paths
    ours = make_ipc_channel_client(to_us, from_us)
    reader = os.open(from_us, os.O_RDONLY | os.O_NONBLOCK)
    writing_end = asyncio.to_thread(os.open, to_us, os.O_WRONLY)
    writer, came = await asyncio.gather(writing_end, ours.connect(PATIENCE))
    assert came
    stream = ours.session.stream  # type: ignore[attr-defined]  # looks inside
    stream._grown = True  # so that the pipe holds 64 KiB
    writing = asyncio.create_task(ours.write(bytes(2**16)))  # 4 bytes more than fit
    sender = ours.session.sender  # type: ignore[attr-defined]
    await eventually(lambda: sender.size == 4)
    os.close(reader)
    await eventually(lambda: sender.state.write_error is not None)
    reader = os.open(from_us, os.O_RDONLY | os.O_NONBLOCK)
    # So that there is room for more.
    assert os.read(reader, 2**17) == frame(bytes(2**16))[: 2**16]
    await ours.close()
    await asyncio.wait({writing})
    assert os.read(reader, 100) == b""
    os.close(reader)
    os.close(writer)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have every record of the library raise in a filter; give what was to be logged."""
    logger, met = logging.getLogger("ipc_channel"), []

    def fail(record: logging.LogRecord) -> bool:
        met.append(record.msg)
        raise RuntimeError("in a filter")

    monkeypatch.setattr(logger, "level", logging.DEBUG)
    monkeypatch.setattr(logger, "filters", [fail])
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.manager._clear_cache()  # type: ignore[attr-defined]  # of what is enabled
    yield met
    logger.manager._clear_cache()  # type: ignore[attr-defined]


async def test_logging_that_raises_changes_nothing(
    connect: Connect, failing: list[str]
) -> None:
    before = open_descriptors()
    async with connect(linger=0) as (ours, peer):
        reading = asyncio.create_task(ours.read())
        writers = [asyncio.create_task(ours.write(bytes(2**24))) for _ in range(3)]
        await asyncio.sleep(0)
        await ours.close()
        assert await asyncio.wait_for(reading, PATIENCE) is None
        await asyncio.wait(writers, timeout=PATIENCE)
        assert {type(one.exception()) for one in writers} == {ChannelClosedError}
        peer.close()
    assert open_descriptors() == before
    assert any("did not take" in text for text in failing)
    assert any("session ended" in text for text in failing)


@pytest.mark.parametrize("transport", ["named_pipe"])
async def test_a_peer_that_refuses_a_size_by_leaving(connect: Connect) -> None:
    """It has seen the header, and a part of the message is on its way."""
    async with connect() as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(3 * 2**20)))
        await asyncio.to_thread(peer.recv, 4)
        peer.close()
        with pytest.raises(
            PeerGoneError, match=r"3145728 bytes was sent only in part.*both"
        ):
            await writing


async def test_a_peer_that_refuses_a_size_with_a_close_frame(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(linger=0) as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(30 * 2**20)))
        await asyncio.to_thread(peer.recv, 4)
        peer.send(CLOSE)
        assert await ours.read() is None
        assert "had received the whole of a message of 31457280 bytes" in caplog.text
        await ours.close()
        await asyncio.wait({writing})
        assert isinstance(writing.exception(), ChannelClosedError)


async def test_a_peer_that_dies_is_not_taken_for_one_that_refuses(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(linger=0) as (ours, peer):
        peer.send(frame(b"heard"))
        writing = asyncio.create_task(ours.write(bytes(30 * 2**20)))
        await asyncio.to_thread(peer.recv, 4)
        assert await ours.read() == b"heard"
        peer.end_writing()
        assert await ours.read() is None
        assert "had received the whole of" not in caplog.text
        await ours.close()
        await asyncio.wait({writing})
        assert isinstance(writing.exception(), ChannelClosedError)


@pytest.mark.parametrize("transport", ["tcp"])  # a named pipe cannot be reset
@pytest.mark.parametrize(
    ("size", "what"),
    [(100_000, "may not have been read"), (30 * 2**20, "was sent only in part")],
)
async def test_a_peer_that_refuses_a_size_by_a_reset(
    connect: Connect, size: int, what: str
) -> None:
    """As a helper does that exits with the rest of the message unread."""
    async with connect() as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(size)))
        await asyncio.to_thread(peer.recv, 4)
        if size < 2**20:
            await writing
            sender = ours.session.sender  # type: ignore[attr-defined]  # looks inside
            await eventually(lambda: not sender.size)
        peer.reset()
        said = rf"a message of {size} bytes {what}: if .* raise it at both ends$"
        with pytest.raises(ResetError, match=said):
            await ours.read()
        with pytest.raises((ResetError, PeerGoneError), match=said):
            await ours.write(b"after that")
        await asyncio.gather(writing, return_exceptions=True)
        assert str(ours.last_exception).endswith("raise it at both ends")


@pytest.mark.parametrize("transport", ["tcp"])
async def test_a_reset_after_small_messages_does_not_tell_of_the_limit(
    connect: Connect,
) -> None:
    async with connect() as (ours, peer):
        await ours.write(bytes(2**16))
        peer.reset()
        with pytest.raises(ResetError) as caught:
            await ours.read()
        assert "max_message_size" not in str(caught.value)


@pytest.mark.parametrize("transport", ["named_pipe"])
async def test_a_peer_that_leaves_after_a_message_over_the_default_limit(
    connect: Connect,
) -> None:
    """It has read all, as one does that drops what exceeds its limit and closes."""
    size = 2**26 + 1
    async with connect() as (ours, peer):
        ours.session.sender.large_messages.last = size  # type: ignore[attr-defined]  # as if sent
        peer.close()
        assert await ours.read() is None
        with pytest.raises(PeerGoneError, match=f"message of {size} bytes may not have"):
            await ours.write(b"after that")
