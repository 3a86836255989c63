"""Connecting: its timeout, a second call, and what it leaves when it fails."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raw
from conftest import Connect
from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    ConnectInProgressError,
    IPCChannelClient,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import CLOSE, PATIENCE, dial, eventually, frame, make
from waiting import until_connect_waits


@pytest.mark.covers("RDV-9", "RDV-10")
@pytest.mark.parametrize("timeout", [0, 0.05, 0.3])
async def test_nobody_there(
    role: str, transport: str, tmp_path: Path, timeout: float
) -> None:
    ours = make(role, transport, tmp_path)
    before = open_descriptors()
    for _ in range(2):
        start = time.monotonic()
        assert await ours.connect(timeout) is False
        assert time.monotonic() - start >= timeout
    assert open_descriptors() == before
    assert ours.end_reason is None
    await ours.close()


async def test_nothing_waits_beyond_the_deadline(
    role: str, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []

    async def wait(*args: Any, real: Any = asyncio.wait, **options: Any) -> Any:
        waits.append(options.get("timeout"))
        return await real(*args, **options)

    monkeypatch.setattr(asyncio, "wait", wait)
    ours = make(role, transport, tmp_path)
    assert not await ours.connect(0.05)
    assert max(one for one in waits if one is not None) <= 0.05
    assert len(waits) < 20
    await ours.close()


@pytest.mark.covers("RDV-10")
async def test_connect_after_a_failed_one(
    role: str, transport: Any, tmp_path: Path
) -> None:
    rendezvous = raw.Rendezvous(transport, tmp_path)
    ours: IPCChannelClient
    meet: Callable[[], raw.Raw]
    if role == "server":
        ours = server = make_ipc_channel(transport=transport)
        meet = functools.partial(dial, server.out_path, server.in_path)
        assert not await ours.connect(0.01)
    else:
        ours = make_ipc_channel_client(rendezvous.out_path, rendezvous.in_path)
        meet = rendezvous.accept
        if transport == "named_pipe":  # a listening socket would answer by itself
            assert not await ours.connect(0.01)
    peer, came = await asyncio.gather(asyncio.to_thread(meet), ours.connect(PATIENCE))
    assert came
    peer.send(frame(b"hello"))
    assert await ours.read() == b"hello"
    peer.close()
    await ours.close()
    rendezvous.close()


@pytest.mark.covers("RDV-10")
async def test_a_cancelled_connect_leaves_nothing(
    role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)
    before = open_descriptors()
    for _ in range(3):
        connecting = asyncio.create_task(ours.connect(PATIENCE))
        await until_connect_waits(ours)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert open_descriptors() == before
    assert not await ours.connect(0)
    await ours.close()


@pytest.mark.covers("RDV-9")
async def test_connect_at_once_finds_who_is_there(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    if transport == "named_pipe":  # its client waits for our reading end
        while not await server.connect(0):
            await asyncio.sleep(0.001)
    peer = await meeting
    assert await server.connect(0)
    peer.close()
    await server.close()


async def test_one_try_is_not_spent_on_a_last_peer_that_does_not_read() -> None:
    server = make_ipc_channel(transport="tcp", linger=PATIENCE)
    first = dial(server.out_path, server.in_path)
    assert await server.connect()
    writing = asyncio.create_task(server.write(bytes(20 * 2**20)))
    first.send(CLOSE)
    assert await server.read() is None
    second = dial(server.out_path, server.in_path)
    assert await server.connect(0)
    second.send(frame(b"second"))
    assert await server.read() == b"second"
    with pytest.raises(ChannelClosedError):
        await writing
    first.close()
    second.close()
    await server.close()


async def test_connect_while_connected(connect: Connect) -> None:
    async with connect() as (ours, peer):
        assert await ours.connect(0)
        peer.send(frame(b"same session"))
        assert await ours.read() == b"same session"


async def test_connect_while_more_than_is_read_ahead_waits(connect: Connect) -> None:
    """Nothing is being read then that would tell of an end: the stream is asked."""
    async with connect() as (ours, peer):
        wire = frame(b"x" * 500_000) + frame(b"more")
        sending = asyncio.create_task(asyncio.to_thread(peer.send, wire))
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: not receiver.reading)
        assert await ours.connect(0)
        assert await ours.read() == b"x" * 500_000
        assert await ours.read() == b"more"
        await sending


async def test_a_second_connect_at_once_is_refused(
    role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE))
    await asyncio.sleep(0)
    with pytest.raises(ConnectInProgressError):
        await ours.connect(PATIENCE)
    await ours.close()
    assert await connecting is False


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("1", TypeError),
        (None, TypeError),
        (True, TypeError),
        (10**400, ValueError),
    ],
)
async def test_impossible_timeouts(
    role: str, transport: str, tmp_path: Path, timeout: Any, error: type[Exception]
) -> None:
    ours = make(role, transport, tmp_path)
    with pytest.raises(error, match="timeout"):
        await ours.connect(timeout)
    await ours.close()


async def test_both_ends_ours(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    client = make_ipc_channel_client(server.out_path, server.in_path)
    assert all(await asyncio.gather(client.connect(), server.connect()))
    await client.write(b"ping")
    assert await server.read() == b"ping"
    await server.write(b"pong")
    assert await client.read() == b"pong"
    await client.close()
    assert await server.read() is None
    assert server.end_reason == "clean"
    await server.close()
