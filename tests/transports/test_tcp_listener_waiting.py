"""Peers that come while no connect waits for them, or as it ends: kept, or closed."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    FrameTooLargeError,
    Helper,
    TCPSocketChannel,
)
from ipc_channel.transports.peer_user import OwnerQuery, peer_user
from raw import PATIENCE, Raw, dial, eventually, frame


async def as_a_peer_is_found(server: TCPSocketChannel) -> tuple[asyncio.Task[bool], Raw]:
    """Return in the very iteration in which a peer was accepted, before ``connect`` knows."""
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await eventually(lambda: server._listener._loop is not None)
    opening: Any = server._connecting
    peer = dial(server.in_path, server.in_path)
    while opening._fut_waiter is None or not opening._fut_waiter.done():
        await asyncio.sleep(0)
    return connecting, peer


async def cancelled_as_a_peer_was_found(server: TCPSocketChannel) -> Raw:
    connecting, peer = await as_a_peer_is_found(server)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    return peer


@pytest.mark.covers("RDV-13")
async def test_a_peer_that_comes_as_connect_gives_up_is_kept() -> None:
    """Even if it leaves before the next: let in, it takes itself for met."""
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    peer.send(frame(b"hello"))
    peer.close()
    assert await server.connect(PATIENCE)
    assert await server.read() == b"hello"
    await server.close()


async def test_who_comes_after_an_end_waits_for_the_next_connect() -> None:
    server = TCPSocketChannel(max_message_size=10)
    first = dial(server.in_path, server.in_path)
    assert await server.connect()
    first.send(b"\xff\xff\xff\xff")
    with pytest.raises(FrameTooLargeError):
        await server.read()
    second = dial(server.in_path, server.in_path)
    second.send(frame(b"second"))
    await asyncio.sleep(0.01)  # in which it would be let in
    first.close()
    assert await server.connect()
    assert await server.read() == b"second"
    second.close()
    await server.close()


async def test_a_kept_connection_is_closed_with_the_channel() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    await server.close()
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    assert open_descriptors() == before


async def test_a_peer_that_is_found_as_the_channel_is_closed() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    connecting, peer = await as_a_peer_is_found(server)
    await server.close()
    assert await connecting is False
    assert await asyncio.to_thread(peer.is_ended)
    assert len(open_descriptors() - before) == 1, "the peer's own"
    peer.close()


async def test_a_kept_connection_is_ended_by_disconnect() -> None:
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    await server.disconnect()
    assert await asyncio.to_thread(peer.recv_all) == []
    assert not await server.connect(0)
    peer.close()
    await server.close()


async def admitted(server: TCPSocketChannel, *data: bytes) -> Raw:
    """Return a peer that the server has let in while no connect waits."""
    peer = dial(server.in_path, server.in_path)
    for part in data:
        peer.send(part)
    await eventually(lambda: server._listener._admitted is not None)
    return peer


async def test_a_peer_that_comes_between_two_sessions_is_let_in_at_once() -> None:
    """So it may leave before the next connect, and nothing that it sent is lost."""
    server = TCPSocketChannel()
    first = dial(server.in_path, server.in_path)
    assert await server.connect()
    first.close()
    assert await server.read() is None
    second = await admitted(server, frame(b"while nobody waited"))
    assert peer_user(second.sock) == os.geteuid()  # type: ignore[arg-type] # has a socket
    second.close()
    assert await server.connect(0)
    assert await server.read() == b"while nobody waited"
    await server.close()


async def test_a_peer_that_is_let_in_and_leaves_silently_is_forgotten() -> None:
    server = TCPSocketChannel()
    assert not await server.connect(0)
    gone = await admitted(server)
    gone.close()
    assert not await server.connect(0)
    reset = await admitted(server)
    reset.reset()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect(PATIENCE)
    peer.send(frame(b"here"))
    assert await server.read() == b"here"
    peer.close()
    await server.close()


async def test_a_peer_that_was_let_in_is_closed_with_the_channel() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    assert not await server.connect(0)
    peer = await admitted(server)
    await server.close()
    assert await asyncio.to_thread(peer.is_ended)
    peer.close()
    assert open_descriptors() == before


@pytest.mark.parametrize("data", [[], [frame(b"not the helper")]], ids=["silent", "spoke"])
async def test_who_came_before_a_helper_was_started_is_not_the_helper(
    data: list[bytes],
) -> None:
    server = TCPSocketChannel()
    assert not await server.connect(0)
    prober = await admitted(server, *data)
    code = (
        "import asyncio, ipc_channel as ipc\n"
        "async def main():\n"
        "    async with ipc.make_ipc_channel_client(*ipc.from_environment()) as channel:\n"
        "        await channel.write(b'the helper')\n"
        "asyncio.run(main())"
    )
    async with Helper([sys.executable, "-c", code], server) as channel:
        assert await channel.read() == b"the helper"
    assert await asyncio.to_thread(prober.is_ended)
    prober.close()


@pytest.mark.parametrize("moment", ["before", "between"])
async def test_nobody_of_the_queue_is_the_helper(moment: str) -> None:
    server = TCPSocketChannel()
    if moment == "between":
        assert not await server.connect(0)
    probers = [dial(server.in_path, server.in_path) for _ in range(20)]
    for prober in probers:
        prober.send(frame(b"not the helper"))
    server.abort()  # as Helper.start does
    for prober in probers:
        assert await asyncio.to_thread(prober.is_ended)
        prober.close()
    assert not await server.connect(0)
    await server.close()


async def test_an_interrupt_as_a_batch_is_looked_at_loses_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupt(BaseException):
        pass

    def interrupted(*_: object) -> Any:
        raise Interrupt

    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"still here"))
    with monkeypatch.context() as patch:
        patch.setattr(OwnerQuery, "owners", interrupted)
        with pytest.raises(Interrupt):
            await server.connect(PATIENCE)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"still here"
    peer.close()
    await server.close()
