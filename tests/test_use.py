"""Use before connect, after close, on another loop; channels by the hundred."""

from __future__ import annotations

import asyncio
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
    ConnectTimeoutError,
    IPCChannel,
    IPCChannelClient,
    NotConnectedError,
    WrongLoopError,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.aio.stream import Stream
from raw import CLOSE, frame, make, meet
from waiting import until_blocked


async def test_use_before_connect(role: str, transport: str, tmp_path: Path) -> None:
    ours = make(role, transport, tmp_path)
    with pytest.raises(NotConnectedError):
        await ours.read()
    with pytest.raises(NotConnectedError) as caught:
        await ours.write(b"x")
    assert isinstance(caught.value, ValueError)
    await ours.close()


async def test_use_after_close(role: str, transport: str, tmp_path: Path) -> None:
    ours = make(role, transport, tmp_path)
    await ours.close()
    assert await ours.read() is None
    with pytest.raises(ChannelClosedError):
        await ours.write(b"x")
    with pytest.raises(ChannelClosedError):
        await ours.connect()


async def test_use_after_a_session_and_close(connect: Connect) -> None:
    async with connect() as (ours, _):
        await ours.close()
        assert await ours.read() is None
        with pytest.raises(ChannelClosedError):
            await ours.write(b"x")
        with pytest.raises(ChannelClosedError):
            await ours.connect()


async def test_a_loop_that_is_not_the_running_one(
    role: str, transport: str, tmp_path: Path
) -> None:
    other = asyncio.new_event_loop()
    ours = make(role, transport, tmp_path, loop=other)
    with pytest.raises(WrongLoopError):
        await ours.connect()
    with pytest.raises(WrongLoopError):
        await ours.write(b"x")
    await ours.close()
    other.close()
    ours = make(role, transport, tmp_path, loop=asyncio.get_running_loop())
    assert not await ours.connect(0)
    await ours.close()


async def test_use_on_another_loop(connect: Connect) -> None:
    async def use(channel: IPCChannelClient) -> None:
        use = (channel.read, lambda: channel.write(b"x"), channel.close, channel.connect)
        for using in use:
            with pytest.raises(WrongLoopError):
                await using()

    async with connect() as (ours, peer):
        await asyncio.to_thread(asyncio.run, use(ours))
        peer.send(frame(b"unharmed"))
        assert await ours.read() == b"unharmed"


async def test_use_on_another_loop_while_connect_waits(
    role: str, transport: str, tmp_path: Path
) -> None:
    async def use(channel: Any) -> None:
        for using in (channel.connect, channel.close, channel.disconnect):
            with pytest.raises(WrongLoopError):
                await using()

    ours = make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(raw.PATIENCE))
    await asyncio.sleep(0)
    await asyncio.to_thread(asyncio.run, use(ours))
    assert not connecting.done()
    await ours.close()
    assert await connecting is False


async def test_close_after_its_loop_has_gone(transport: Any) -> None:
    def make_in_a_loop() -> tuple[IPCChannel, raw.Raw]:
        async def go() -> tuple[IPCChannel, raw.Raw]:
            server = make_ipc_channel(transport=transport)
            peer = await meet(server)
            peer.send(frame(b"unread"))
            await raw.eventually(lambda: server.session.queued == 1)  # type: ignore[attr-defined]  # looks inside
            return server, peer

        return asyncio.run(go())

    before = open_descriptors()
    server, peer = await asyncio.to_thread(make_in_a_loop)
    await server.close()
    assert await server.read() is None
    assert server.end_reason == "local"
    with pytest.raises(ChannelClosedError):
        await server.write(b"x")
    peer.close()
    assert open_descriptors() == before


async def test_async_with(transport: Any) -> None:
    async def serve(server: IPCChannel) -> list[bytes]:
        async with server:
            return [message async for message in server]

    server = make_ipc_channel(transport=transport)
    serving = asyncio.create_task(serve(server))
    async with make_ipc_channel_client(server.out_path, server.in_path) as client:
        for number in range(3):
            await client.write(b"%d" % number)
    assert await serving == [b"0", b"1", b"2"]


@pytest.mark.usefixtures("many_descriptors")
async def test_five_hundred_channels_in_one_loop(transport: Any) -> None:
    async def serve(number: int) -> None:
        server = make_ipc_channel(transport=transport)
        client = make_ipc_channel_client(server.out_path, server.in_path)
        assert all(await asyncio.gather(server.connect(60), client.connect(60)))
        gate.append(number)
        await raw.eventually(lambda: len(gate) >= 500)
        message = b"%d" % number * 1000
        await asyncio.gather(client.write(message), server.write(message))
        assert [await server.read(), await client.read()] == [message, message]
        await client.close()
        assert await server.read() is None
        await server.close()

    gate: list[int] = []
    await asyncio.gather(*(serve(number) for number in range(500)))


async def test_connect_timeout_error_of_async_with(
    monkeypatch: pytest.MonkeyPatch, role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)

    async def nobody(timeout: float = 0) -> bool:
        return False

    monkeypatch.setattr(ours, "connect", nobody)
    with pytest.raises(ConnectTimeoutError):
        async with ours:
            pytest.fail("the body must not run")
    with pytest.raises(ChannelClosedError):
        await ours.write(b"x")


@pytest.mark.parametrize(
    "state", ["ended", "clean", "write failed", "write waited", "silent half-close"]
)
async def test_nothing_is_done_while_nothing_happens(
    connect: Connect, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors are ready for ever after an end: one that stays watched takes a core."""
    calls = 0

    def count(start: Callable[[Stream, Callable[[], None]], None]) -> Any:
        def start_counting(self: Stream, callback: Callable[[], None]) -> None:
            def counted() -> None:
                nonlocal calls
                calls += 1
                callback()

            start(self, counted)

        return start_counting

    monkeypatch.setattr(Stream, "start_reading", count(Stream.start_reading))
    monkeypatch.setattr(Stream, "start_writing", count(Stream.start_writing))
    async with connect(linger=0) as (ours, peer):
        if state == "ended":
            peer.close()
            assert await ours.read() is None
        elif state == "clean":
            peer.send(CLOSE)
            peer.end_writing()
            assert await ours.read() is None
        elif state == "write failed":
            writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
            await until_blocked(ours)
            peer.close()
            await asyncio.wait({writing})
            assert writing.exception()
        elif state == "write waited":
            writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
            await asyncio.to_thread(peer.recv_frame)
            await writing
        else:
            peer.end_writing()
        await asyncio.sleep(0.01)  # what is under way comes to rest
        calls, start = 0, time.process_time()
        await asyncio.sleep(0.3)
        assert calls < 5
        assert time.process_time() - start < 0.15
