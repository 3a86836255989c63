"""What closing frees, cancelled or not, and what it logs."""

from __future__ import annotations

import asyncio
import gc
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import raw
from conftest import Connect
from descriptors import open_descriptors
from raw import PATIENCE, eventually, frame
from waiting import until_blocked, until_closing


async def test_what_has_only_begun_is_dropped_with_the_session(connect: Connect) -> None:
    async with connect(linger=0) as (ours, peer):
        size = 20 * 2**20
        wire = size.to_bytes(4, "big") + bytes(size // 2)
        sending = asyncio.create_task(asyncio.to_thread(peer.send, wire))
        decoder = ours.session.receiver.decoder  # type: ignore[attr-defined]  # looks inside
        await sending
        await eventually(lambda: decoder.payload is not None)
        await ours.close()
        assert decoder.payload is None


@pytest.mark.covers("SES-32")
async def test_a_cancelled_close_frees_everything(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        before = open_descriptors()
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await until_blocked(ours)
        closing = asyncio.create_task(ours.close())
        other = asyncio.create_task(ours.close())
        await until_closing(ours)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await other
        assert len(before - open_descriptors()) >= (2 if peer.sock is None else 1)
        await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.covers("SES-31")
async def test_a_cancelled_second_close_leaves_the_first_alone(connect: Connect) -> None:
    message = bytes(3 * 2**20)
    async with connect(linger=PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(message))
        await asyncio.sleep(0)
        first, second = (asyncio.create_task(ours.close()) for _ in range(2))
        await until_closing(ours)
        second.cancel()
        await asyncio.wait({second})
        assert second.cancelled()
        await asyncio.sleep(0.01)  # in which the first would have ended
        assert not first.done()
        assert await asyncio.to_thread(peer.recv_all) == [message]
        peer.close()
        await first
        await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.parametrize(("size", "is_logged"), [(5, False), (20 * 2**20, True)])
async def test_what_a_peer_did_not_take_is_logged(
    connect: Connect, size: int, is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(linger=0) as (ours, _):
        writing = asyncio.create_task(ours.write(bytes(size)))
        await (until_blocked(ours) if is_logged else writing)
        await ours.close()
        await asyncio.gather(writing, return_exceptions=True)
    assert ("did not take" in caplog.text) is is_logged
    if is_logged:
        assert re.search(r"closed with \d{7,} bytes that the peer", caplog.text)


async def test_what_a_failed_write_lost_is_not_logged_again(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer was told, by an error."""
    async with connect() as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await until_blocked(ours)
        peer.close()
        with pytest.raises(ConnectionError):
            await writing
    assert "did not take" not in caplog.text


@pytest.mark.covers("SES-32")
async def test_many_cycles_leave_nothing(role: str, transport: str, tmp_path: Path) -> None:
    async def cycle(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        async with raw.connected(transport, role, directory) as (ours, peer):
            peer.send(frame(b"x"))
            assert await ours.read() == b"x"
            if number % 3 == 0:
                peer.close()
            elif number % 3 == 1:
                peer.send(b"\0")
                peer.close()

    for number in range(20):  # imports, caches and free lists fill up at first
        await cycle(number)
    before, tasks = open_descriptors(), len(asyncio.all_tasks())
    # A leak grows each time; what something keeps once, a cache for instance, does not.
    grown = []
    for start in range(20, 620, 200):
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(start, start + 200):
                await cycle(number)
            gc.collect()
            grown.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        if grown[-1] < 200 * 1000:
            break
    assert grown[-1] < 200 * 1000, f"over 1 kB a cycle: {grown}"
    assert open_descriptors() == before
    assert len(asyncio.all_tasks()) == tasks
    # A dead entry in the selector would make one of the next descriptors deaf.
    async with raw.connected("tcp", "server", tmp_path) as (ours, peer):
        peer.send(frame(b"not deaf"))
        assert await ours.read() == b"not deaf"


async def test_a_cancelled_close_cancels_no_other(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        closing = [asyncio.create_task(ours.close()) for _ in range(3)]
        await until_closing(ours)
        closing[1].cancel()
        await asyncio.wait({closing[1]})
        await asyncio.sleep(0)
        assert not closing[0].done()
        assert not closing[2].done()
        peer.close()
        await asyncio.gather(closing[0], closing[2])
        await asyncio.gather(writing, return_exceptions=True)


async def test_a_failing_end_still_frees_everything(connect: Connect) -> None:
    def fail() -> None:
        raise RuntimeError("in a callback")

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: told.append(about))
    before = open_descriptors()
    async with connect() as (ours, peer):
        ours.session.stream.on_end = fail  # type: ignore[attr-defined]  # looks inside
        await asyncio.gather(ours.close(), asyncio.to_thread(_see_a_clean_end, peer))
    assert [str(about["exception"]) for about in told] == ["in a callback"]
    assert open_descriptors() == before


def _see_a_clean_end(peer: raw.Raw) -> None:
    assert peer.recv_all() == []
    peer.close()
