"""Each operation cancelled after the n-th turn of the loop, for every n, whatever the peer does.

Afterwards nothing is left, nothing is torn or lost, and the next connect works.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import raw
from ipc_channel import IPCChannelError
from raw import PATIENCE, frame, open_descriptors

MESSAGE = b"m" * 300_000
TURNS = 14
PEERS = ("behaves", "is silent", "does not read", "leaves")


async def after(
    turns: int, work: Coroutine[Any, Any, Any], times: int
) -> asyncio.Task[Any]:
    """Run ``work`` for some turns, cancel it, and give the task, which has ended."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(times):
        accepted = task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait({task}, timeout=PATIENCE)
    assert task.done()
    if accepted and times == 1:
        assert task.cancelled(), "the cancellation was swallowed"
    return task


@pytest.mark.parametrize("peer_kind", PEERS)
@pytest.mark.parametrize("operation", ["read", "write", "close", "disconnect"])
async def test_cancelled_after_every_turn(
    transport: str, role: str, tmp_path: Path, operation: str, peer_kind: str
) -> None:
    before = open_descriptors()
    tasks = asyncio.all_tasks()
    for turns in range(TURNS):
        directory = tmp_path / str(turns)
        directory.mkdir()
        async with raw.connected(transport, role, directory, linger=0.01) as (ours, peer):
            if peer_kind == "behaves":
                peer.send(frame(b"first"))
            elif peer_kind == "leaves":
                peer.close()
            works: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
                "read": ours.read,
                "write": lambda: ours.write(MESSAGE),
                "close": ours.close,
                "disconnect": ours.disconnect,
            }
            task = await after(turns, works[operation](), 1 + turns % 2)
            if operation == "read" and peer_kind == "behaves" and task.cancelled():
                assert await asyncio.wait_for(ours.read(), PATIENCE) == b"first"
            if operation == "write" and peer_kind == "behaves":
                await _check_written(ours, peer)
            with contextlib.suppress(IPCChannelError):
                task.cancelled() or task.result()
            await ours.close()
        assert asyncio.all_tasks() == tasks
    gc.collect()
    assert open_descriptors() == before


async def _check_written(ours: Any, peer: raw.Raw) -> None:
    """What is written next comes next, or behind the whole message that was cancelled."""
    receiving = asyncio.create_task(asyncio.to_thread(peer.recv_frame))
    await ours.write(b"last")
    got = await receiving
    if got != b"last":
        assert got == MESSAGE
        assert await asyncio.to_thread(peer.recv_frame) == b"last"


async def test_connect_cancelled_after_every_turn(transport: Any) -> None:
    """A peer that has come meanwhile is not lost: the next connect has it."""
    before = open_descriptors()
    for turns in range(2 * TURNS):
        server = raw.make("server", transport, Path())
        meeting = asyncio.create_task(
            asyncio.to_thread(raw.dial, server.out_path, server.in_path)  # type: ignore[attr-defined]  # a server
        )
        await after(turns, server.connect(PATIENCE), 1 + turns % 2)
        assert await server.connect(PATIENCE)
        peer = await meeting
        peer.send(frame(b"hello"))
        assert await server.read() == b"hello"
        peer.close()
        await server.close()
    gc.collect()
    assert open_descriptors() == before
