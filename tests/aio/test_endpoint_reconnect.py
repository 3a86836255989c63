"""One channel, one session after the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conftest import Connect
from descriptors import open_descriptors
from ipc_channel import (
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.aio.receiver import READ_AHEAD
from raw import CLOSE, PATIENCE, dial, eventually, frame, meet
from waiting import until_waits


@pytest.mark.covers("SES-2")
@pytest.mark.parametrize(
    "transport", ["tcp"]
)  # transports/test_passers_by.py has named pipes
async def test_a_client_that_came_wrote_and_left(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    peer = dial(server.out_path, server.in_path)
    peer.send(frame(b"gone already") + CLOSE)
    peer.end_writing()  # a socket that is closed has no owner that could be checked
    assert await server.connect()
    assert await server.read() == b"gone already"
    assert await server.read() is None
    peer.close()
    await server.close()


@pytest.mark.covers("SES-40")
async def test_reconnect(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    before = open_descriptors()
    for number in range(5):
        assert not await server.connect(0)
        peer = await meet(server)
        assert server.end_reason is None
        peer.send(frame(b"session %d" % number) + frame(b"unread") + b"\0\0")
        assert ("1 unread messages are dropped" in caplog.text) == (number > 0)
        caplog.clear()
        assert await server.read() == b"session %d" % number
        await server.write(b"answer %d" % number)
        assert await asyncio.to_thread(peer.recv_frame) == b"answer %d" % number
        peer.close()
        while server.connected:
            await asyncio.sleep(0)
        assert server.end_reason is None  # the reader has not reached the end (SES-6)
        assert server.last_exception is None
    assert not await server.connect(0)
    assert open_descriptors() == before
    await server.close()


async def test_the_next_client_may_be_early(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    first = make_ipc_channel_client(server.out_path, server.in_path)
    await asyncio.gather(first.connect(), server.connect())
    await first.write(b"first")
    assert await server.read() == b"first"
    await first.close()
    while server.end_reason is None:  # the server has noticed, but not connected again
        await asyncio.sleep(0)
    second = make_ipc_channel_client(server.out_path, server.in_path)
    connecting = asyncio.create_task(second.connect())
    await until_waits(connecting)
    assert await server.connect()
    assert await connecting
    await second.write(b"second")
    assert await server.read() == b"second"
    await second.close()
    await server.close()


@pytest.mark.covers("SES-41")
async def test_a_client_connects_again(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    client = make_ipc_channel_client(server.out_path, server.in_path)
    for number in range(3):
        assert all(await asyncio.gather(client.connect(), server.connect()))
        await client.write(b"%d" % number)
        assert await server.read() == b"%d" % number
        # Both learn that this session is over, without closing their channels.
        await server.session.close()  # type: ignore[attr-defined]  # looks inside
        assert await client.read() is None
    await client.close()
    await server.close()


@pytest.mark.covers("SES-40")
async def test_a_peer_that_left_much_unread_is_no_peer_any_more(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    first = await meet(server)
    receiver = server.session.receiver  # type: ignore[attr-defined]  # looks inside
    # So much that nothing more is read, but nothing that would wait in the kernel.
    messages = frame(bytes(150_000)) + frame(bytes(READ_AHEAD - 150_000))
    await asyncio.to_thread(first.send, messages)
    await eventually(lambda: not receiver.reading)  # so that the end is not seen
    first.close()
    second = await meet(server)
    second.send(frame(b"second"))
    assert await server.read() == b"second"
    second.close()
    await server.close()


async def test_an_abort_ends_a_disconnect_that_waits(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        await ours.write(b"read before the close frame")
        closing = asyncio.create_task(ours.disconnect())
        assert await asyncio.to_thread(peer.recv_frame) == b"read before the close frame"
        assert await asyncio.to_thread(peer.recv, 4) == CLOSE
        ours.abort()
        await asyncio.wait_for(closing, PATIENCE / 2)
