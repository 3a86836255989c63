"""Blocking channels in programs that use asyncio as well, and asyncio at the other end."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

import ipc_channel
from blocking import Call, connected
from ipc_channel import IPCChannelError, sync
from raw import PATIENCE, frame

RNG = random.Random(1)
MESSAGES = [RNG.randbytes(size) for size in (1, 100, 5000, 70_000, 1_000_000, 3, 3, 3)]


async def test_in_the_thread_of_a_running_loop(
    transport: str, role: str, tmp_path: Path
) -> None:
    """It stops the loop for as long as it takes, and leaves its task as it was."""
    task = asyncio.current_task()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    with connected(transport, role, tmp_path) as (ours, peer):
        peer.send(frame(b"x"))
        assert ours.read() == b"x"
        with pytest.raises(TimeoutError):
            ours.read(0.01)
        ours.write(b"y")
        assert peer.recv_frame() == b"y"
        assert turns == 1
        assert asyncio.current_task() is task
        await asyncio.sleep(0)
        assert turns > 1
        assert ours.connected
        peer.close()
    assert asyncio.current_task() is task
    counting.cancel()
    await asyncio.wait({counting})


async def test_in_a_callback_of_a_loop(transport: str, tmp_path: Path) -> None:
    """There is a running loop there, but no task."""
    done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def use() -> None:
        with connected(transport, "server", tmp_path) as (ours, peer):
            peer.send(frame(b"x"))
            done.set_result(ours.read())
            peer.close()

    asyncio.get_running_loop().call_soon(use)
    assert await done == b"x"


async def test_an_error_leaves_the_loop_as_it_was(transport: str, tmp_path: Path) -> None:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    with connected(transport, "server", tmp_path, max_message_size=10) as (ours, peer):
        peer.send(b"\0\0\0\x0b")
        with pytest.raises(IPCChannelError):
            ours.read()
        peer.close()
    assert asyncio.current_task() is task
    assert asyncio.get_running_loop() is loop


async def test_in_a_thread_beside_a_loop(transport: str, tmp_path: Path) -> None:
    with connected(transport, "server", tmp_path) as (ours, peer):
        reading = asyncio.create_task(asyncio.to_thread(ours.read))
        await asyncio.sleep(0)
        await asyncio.to_thread(ours.write, b"y")
        assert await asyncio.to_thread(peer.recv_frame) == b"y"
        peer.send(frame(b"x"))
        assert await reading == b"x"
        closing = asyncio.create_task(asyncio.to_thread(ours.close))
        assert await asyncio.to_thread(peer.recv_all) == []
        peer.close()
        await closing


async def test_a_blocking_client_of_an_asyncio_server(transport: Any) -> None:
    server = ipc_channel.make_ipc_channel(transport=transport)
    client = sync.make_ipc_channel_client(server.out_path, server.in_path)

    def echo() -> None:
        with client:
            for message in client:
                client.write(message)

    echoing = Call(echo)
    assert await server.connect(PATIENCE)
    for message in MESSAGES:
        await server.write(message)
        assert await server.read() == message
    await asyncio.gather(*[server.write(message) for message in MESSAGES[-3:]])
    assert [await server.read() for _ in range(3)] == MESSAGES[-3:]
    await server.close()
    await asyncio.to_thread(echoing.result)
    assert client.end_reason == "clean"


async def test_an_asyncio_client_of_a_blocking_server(transport: Any) -> None:
    server = sync.make_ipc_channel(transport=transport)
    client = ipc_channel.make_ipc_channel_client(server.out_path, server.in_path)

    def ask() -> list[bytes | None]:
        with server:
            got = []
            for message in MESSAGES:
                server.write(message)
                got.append(server.read())
            return got

    asking = Call(ask)
    async with client:
        async for message in client:
            await client.write(message)
    assert await asyncio.to_thread(asking.result) == MESSAGES
    assert client.end_reason == "clean"
    assert server.end_reason == "local"


async def test_floods_both_ways_between_the_two_kinds(transport: Any) -> None:
    server = sync.make_ipc_channel(transport=transport)
    client = ipc_channel.make_ipc_channel_client(server.out_path, server.in_path)
    messages = [b"%d " % number + bytes(number % 3000) for number in range(2000)]

    def write() -> None:
        for message in messages:
            server.write(message)

    connecting = Call(server.connect, PATIENCE)
    assert await client.connect(PATIENCE)
    assert await asyncio.to_thread(connecting.result)
    writing, reading = Call(write), Call(list[bytes], server)

    async def send() -> None:
        for message in messages:
            await client.write(message)

    sending = asyncio.create_task(send())
    assert [await client.read() for _ in messages] == messages
    await sending
    await asyncio.to_thread(writing.result)
    await client.close()
    assert await asyncio.to_thread(reading.result) == messages
    server.close()


def test_asyncio_run_after_a_blocking_call(transport: str, tmp_path: Path) -> None:
    with connected(transport, "server", tmp_path) as (ours, peer):
        peer.send(frame(b"x") * 2)
        assert ours.read() == b"x"

        async def read() -> bytes | None:
            return ours.read()

        assert asyncio.run(read()) == b"x"
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        peer.close()


async def test_an_asyncio_channel_is_refused_by_a_blocking_helper() -> None:
    channel: Any = ipc_channel.make_ipc_channel()
    with pytest.raises(TypeError, match="blocking server"):
        sync.Helper(["true"], channel)
    await channel.close()
    blocking_channel: Any = sync.make_ipc_channel()
    with pytest.raises(TypeError, match="a server"):
        ipc_channel.Helper(["true"], blocking_channel)
    blocking_channel.close()
