"""A warning when both ends write and neither reads."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

import blocking
import raw
from blocking import Call
from ipc_channel.aio import standstill
from ipc_channel.conformance.raw_peer import frame
from raw import connected

LARGE = bytes(20 * 2**20)  # more than all buffers between the ends hold


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "PAUSE", 0.05)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "are unread" in one.getMessage()]


async def test_it_is_told_once(
    transport: str, role: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with connected(transport, role, tmp_path) as (ours, theirs):
        writing = asyncio.create_task(ours.write(LARGE))
        sending = asyncio.create_task(
            asyncio.to_thread(theirs.send, frame(b"x" * 999) * 1500)
        )
        await raw.eventually(lambda: bool(warnings(caplog)))
        (text,) = warnings(caplog)
        assert "a write has waited for 0.05 s" in text
        assert await ours.read() == b"x" * 999
        for _ in range(1499):
            await ours.read()
        await sending
        assert await asyncio.to_thread(theirs.recv_frame) == LARGE
        await writing
        assert len(warnings(caplog)) == 1


async def test_slow_readers_alone_are_no_reason(
    transport: str, role: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with connected(transport, role, tmp_path) as (ours, theirs):
        await asyncio.to_thread(theirs.send, frame(bytes(2**17)) * 2 + frame(b"x"))
        await asyncio.sleep(0.3)  # nothing is to happen
        assert await ours.read() == bytes(2**17)
    assert warnings(caplog) == []


def test_a_blocking_write_tells_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with blocking.connected("unix", "client", tmp_path) as (ours, theirs):
        writing = Call(ours.write, LARGE)
        sending = Call(theirs.send, frame(b"x" * 999) * 1500)
        blocking.eventually(lambda: bool(warnings(caplog)))
        for _ in range(1500):
            assert ours.read() == b"x" * 999
        sending.result()
        assert theirs.recv_frame() == LARGE
        writing.result()
    assert len(warnings(caplog)) == 1
