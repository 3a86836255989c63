"""Messages of the requests layer, as a raw end sends and gets them."""

from __future__ import annotations

import asyncio

from ipc_channel import IPCChannelClient
from ipc_channel.conformance.raw_peer import frame
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
