"""Messages of the requests layer, as a raw end sends and gets them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ipc_channel import IPCChannelClient, serve
from ipc_channel.conformance.raw_peer import CLOSE, frame
from raw import Raw

Peer = tuple[IPCChannelClient, Raw]


async def never(_: bytes) -> bytes:
    await asyncio.Event().wait()
    return b""


async def frame_of(peer: Raw) -> bytes | None:
    return await asyncio.to_thread(peer.recv_frame)


def answer(number: int, payload: bytes = b"") -> bytes:
    return frame(b"\x12" + number.to_bytes(4, "big") + payload)


def request(number: int, payload: bytes = b"") -> bytes:
    return frame(b"\x11" + number.to_bytes(4, "big") + payload)


def cancel(number: int) -> bytes:
    return frame(b"\x14" + number.to_bytes(4, "big"))


@contextlib.asynccontextmanager
async def served(peer: Peer, handler: Any, **options: int) -> AsyncIterator[Raw]:
    """Serve, and give the raw other end; end the session in order."""
    ours, theirs = peer
    serving = asyncio.create_task(serve(ours, handler, **options))
    yield theirs
    theirs.send(CLOSE)
    theirs.end_writing()
    await serving
