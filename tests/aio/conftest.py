"""Ends for the tests of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import raw
from ipc_channel import IPCChannelClient, make_ipc_channel, make_ipc_channel_client
from raw import Raw, connected


@pytest.fixture
async def peer(
    transport: str, role: str, tmp_path: Path
) -> AsyncIterator[tuple[IPCChannelClient, Raw]]:
    """Our end, and the raw other one."""
    async with connected(transport, role, tmp_path) as both:
        yield both


@pytest.fixture
async def pair(transport: str) -> AsyncIterator[tuple[IPCChannelClient, IPCChannelClient]]:
    """Two ends of ours in one loop."""
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a plain str
    client = make_ipc_channel_client(server.out_path, server.in_path)
    try:
        await asyncio.gather(server.connect(raw.PATIENCE), client.connect(raw.PATIENCE))
        yield server, client
    finally:
        await asyncio.gather(server.close(), client.close())
