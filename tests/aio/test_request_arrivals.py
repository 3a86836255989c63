"""Requests over a channel of asyncio that end in the moment in which they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ipc_channel import IPCChannelClient, serve
from ipc_channel.conformance.raw_peer import CLOSE, frame
from raw import PATIENCE, Raw, connected

Peer = tuple[IPCChannelClient, Raw]
_REQUEST = frame(bytes.fromhex("11 00000001"))
_CANCEL = frame(bytes.fromhex("14 00000001"))


@pytest.fixture
async def peer(transport: str, role: str, tmp_path: Path) -> AsyncIterator[Peer]:
    """Our end, and the raw other one."""
    async with connected(transport, role, tmp_path) as both:
        yield both


async def wait(_: bytes) -> bytes:
    """Handle a request without end."""
    await asyncio.Event().wait()
    return b""


@pytest.mark.covers("REQ-6", "REQ-13")
async def test_a_cancelled_request_is_answered(peer: Peer) -> None:
    ours, other = peer
    serving = asyncio.create_task(serve(ours, wait))
    other.send(_REQUEST + _CANCEL)
    async with asyncio.timeout(PATIENCE):
        got = await asyncio.to_thread(other.recv_frame)
    assert got is not None
    assert got.startswith(bytes.fromhex("13 00000001 09") + b"cancelled")
    other.send(CLOSE)
    await serving


@pytest.mark.covers("REQ-16")
async def test_serving_ends_with_the_session(peer: Peer) -> None:
    ours, other = peer
    other.send(_REQUEST + CLOSE)
    async with asyncio.timeout(PATIENCE):
        await serve(ours, wait)
