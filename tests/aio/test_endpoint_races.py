"""A connect that is cancelled, or ended by close, just as its peer connects."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import raw
from conftest import Connect
from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    ConnectInProgressError,
    make_ipc_channel,
)
from ipc_channel.aio.status import Status
from raw import PATIENCE, connect_to, dial, eventually, frame, meet


@pytest.mark.covers("RDV-13")
@pytest.mark.parametrize("turns", range(8))
async def test_a_peer_that_comes_as_connect_is_cancelled_is_kept(
    transport: Any, turns: int
) -> None:
    """A helper does not come twice."""
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while not (meeting.done() or connecting.done()):
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait({connecting})
    peer = await meeting
    peer.send(frame(b"not lost"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"not lost"
    peer.close()
    await server.close()


async def test_close_frees_a_peer_that_no_connect_has_told_of(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    before = open_descriptors()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    peer = await asyncio.to_thread(dial, server.out_path, server.in_path)
    await eventually(lambda: server.session is not None)  # type: ignore[attr-defined]  # looks inside
    connecting.cancel()
    await asyncio.wait({connecting})
    await server.close()
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    # The listening socket, the lock of the directory, or both.
    freed = {"named_pipe": 1, "unix": 2, "tcp": 1}[transport]
    assert len(before - open_descriptors()) == freed


async def until_met(server: Any) -> tuple[asyncio.Task[bool], asyncio.Task[raw.Raw]]:
    """Return in the very turn in which a peer was met, before ``connect`` knows."""
    connecting = asyncio.create_task(server.connect(PATIENCE))
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while not server.connected:
        await asyncio.sleep(0)
    assert not connecting.done()
    return connecting, meeting


async def met_and_dropped(server: Any) -> asyncio.Task[bool]:
    """Disconnect in that turn."""
    connecting, meeting = await until_met(server)
    disconnecting = asyncio.create_task(server.disconnect())
    peer = await meeting
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    await disconnecting
    return connecting


async def test_a_connect_goes_on_when_its_peer_is_dropped_at_once(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = await met_and_dropped(server)
    await asyncio.sleep(0.02)  # in which it would have given up
    assert not connecting.done()
    peer = await asyncio.to_thread(dial, server.out_path, server.in_path)
    assert await connecting
    peer.send(frame(b"the second"))
    assert await server.read() == b"the second"
    peer.close()
    await server.close()


async def test_a_connect_ends_when_the_channel_is_closed_as_it_meets(
    transport: Any,
) -> None:
    server = make_ipc_channel(transport=transport)
    connecting, meeting = await until_met(server)
    closing = asyncio.create_task(server.close())
    peer = await meeting
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    assert await connecting is False
    await closing


@pytest.mark.parametrize("turns", range(1, 6))  # a task that has not begun is not run
async def test_a_close_that_is_cancelled_while_it_stops_a_connect(
    connect: Connect, turns: int
) -> None:
    async with connect() as (ours, peer):
        peer.close()
        assert await ours.read() is None
        connecting = asyncio.create_task(ours.connect(PATIENCE))
        closing = asyncio.create_task(ours.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({connecting, closing})
        assert ours.session.closed  # type: ignore[attr-defined]  # looks inside


@pytest.mark.parametrize("transport", ["tcp"])
@pytest.mark.parametrize("turns", range(4))
async def test_a_second_connect_as_the_peer_of_the_first_comes(
    transport: Any, turns: int
) -> None:
    """Until the first one has returned, the peer is its own."""
    server = make_ipc_channel(transport=transport)
    first = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    with socket.create_connection(("127.0.0.1", int(server.in_path))) as peer:
        peer.sendall(frame(b"for the first"))
        while server._status is not Status.PENDING:  # type: ignore[attr-defined]  # looks inside
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        if not first.done():
            with pytest.raises(ConnectInProgressError):
                await server.connect(PATIENCE)
        assert await first
        assert await server.read() == b"for the first"
    await server.close()


@pytest.mark.parametrize("transport", ["tcp"])
async def test_a_close_as_a_peer_was_accepted(transport: Any) -> None:
    failures: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    for _ in range(20):
        server = make_ipc_channel(transport=transport)
        connecting = asyncio.create_task(server.connect(PATIENCE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        address = ("127.0.0.1", int(server.in_path))
        peers = [connect_to(address) for _ in range(40)]
        while not server._listener._accepting.done():  # type: ignore[attr-defined]  # looks inside
            await asyncio.sleep(0)
        await server.close()
        assert not await connecting
        for peer in peers:
            peer.close()
    assert failures == []


async def test_an_abort_drops_a_session_that_no_connect_has_returned(
    transport: Any,
) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    peer = await asyncio.to_thread(dial, server.out_path, server.in_path)
    came = (Status.PENDING, Status.CONNECTED)
    while server._status not in came:  # type: ignore[attr-defined]  # looks inside
        await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait({connecting})
    if connecting.cancelled():  # or else it has returned just before
        assert server.connected
    server.abort()
    assert not server.connected
    assert not await server.connect(0)
    peer.close()
    await server.close()


@pytest.mark.parametrize("transport", ["named_pipe"])
async def test_a_cancelled_close_leaves_another_that_waits_alone(transport: Any) -> None:
    server = make_ipc_channel(transport=transport, linger=PATIENCE)
    peer = await meet(server)
    writing = asyncio.create_task(server.write(bytes(4 * 2**20)))
    await asyncio.sleep(0)
    first = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    second = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    assert Path(server.in_path).exists(), "the first one still sends"
    peer.close()
    await first
    await asyncio.wait({writing})
    assert isinstance(writing.exception(), ChannelClosedError)
    assert not Path(server.in_path).exists()
