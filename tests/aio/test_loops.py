"""Channels and the event loops they outlive: a session does not move, its channel does."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import loops
from descriptors import open_descriptors
from ipc_channel import (
    ConnectInProgressError,
    IPCChannel,
    IPCChannelClient,
    WrongLoopError,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import PATIENCE, Raw, dial, frame, make, meet
from waiting import until_connect_waits


def in_a_loop(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run ``work`` in an event loop of its own, and close that."""
    return asyncio.run(work())


@pytest.fixture
def met(transport: Any) -> tuple[IPCChannel, Raw]:
    """A channel that was connected in a loop which has been closed, and its peer."""

    async def make_met() -> tuple[IPCChannel, Raw]:
        server = make_ipc_channel(transport=transport)
        peer = await meet(server)
        return server, peer

    found: tuple[IPCChannel, Raw] = in_a_loop(make_met)
    return found


def test_a_session_does_not_move_to_another_loop(met: tuple[IPCChannel, Raw]) -> None:
    server, peer = met
    for use in (server.read, lambda: server.write(b"never sent"), server.connect):
        with pytest.raises(WrongLoopError, match="closed since; call disconnect, and"):
            in_a_loop(use)
    in_a_loop(server.close)
    assert peer.recv_frame() is None, "nothing was sent"
    peer.close()


def test_the_next_session_may(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)

    async def make_met() -> None:
        peer = await meet(server)
        peer.send(frame(b"hello"))
        assert await server.read() == b"hello"
        peer.close()
        assert await server.read() is None

    in_a_loop(make_met)
    in_a_loop(make_met)
    in_a_loop(server.close)


@pytest.mark.parametrize("way", ["disconnect", "abort"])
def test_a_channel_moves_once_its_session_is_ended(
    met: tuple[IPCChannel, Raw], way: str
) -> None:
    server, peer = met

    async def move() -> None:
        with pytest.raises(WrongLoopError):
            await server.connect()
        ending = getattr(server, way)()
        if ending is not None:
            await ending
        peer.close()
        another = await meet(server)
        another.send(frame(b"hello"))
        assert await server.read() == b"hello"
        another.close()
        await server.close()

    in_a_loop(move)


@pytest.mark.parametrize("half_met", [False, True])
@pytest.mark.filterwarnings("ignore:coroutine")  # that of a task which never ends
def test_a_loop_that_is_closed_while_connect_waits(transport: Any, half_met: bool) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    loop = loops.new()
    loop.set_exception_handler(lambda *_: None)  # it complains of tasks that wait
    connecting = loop.create_task(server.connect(PATIENCE))
    reader = None
    if half_met and transport == "named_pipe":
        reader = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
    loop.run_until_complete(until_connect_waits(server))
    loop.close()
    in_a_loop(server.close)
    if reader is not None:
        os.close(reader)
    assert open_descriptors() == before
    del connecting
    gc.collect()


def deserted(loop: asyncio.AbstractEventLoop, channel: IPCChannelClient) -> Any:
    """Close ``loop`` while a connect waits in it; return the task, which never ends."""
    loop.set_exception_handler(lambda *_: None)  # it complains of tasks that wait
    connecting = loop.create_task(channel.connect(PATIENCE))
    loop.run_until_complete(until_connect_waits(channel))
    assert not connecting.done()
    loop.close()
    return connecting


@pytest.fixture(params=loops.PLAIN.values())
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes a loop of each kind, which opens no more than that loop needs."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        runner.run(asyncio.sleep(0))
    return request.param  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:coroutine")  # that of a task which never ends
def test_a_loop_that_is_closed_while_a_socket_connects(new_loop: Callable[[], Any]) -> None:
    """The queue of the other end is full, so that it stays so."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]
        for sock in queued:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        before = open_descriptors()
        client = make_ipc_channel_client(str(port), str(port))
        connecting = deserted(new_loop(), client)
        in_a_loop(client.close)
        assert open_descriptors() == before
        del connecting
        gc.collect()
        for sock in queued:
            sock.close()


@pytest.mark.parametrize("first", ["connect", "disconnect"])
@pytest.mark.filterwarnings("ignore:coroutine")  # that of a task which never ends
def test_a_channel_connects_in_another_loop_once_the_first_was_closed(
    transport: Any, role: str, first: str, tmp_path: Path, new_loop: Callable[[], Any]
) -> None:
    before = open_descriptors()
    ours = make(role, transport, tmp_path)
    abandoned = [deserted(new_loop(), ours)]

    async def connect_again() -> None:
        if first == "disconnect":
            await ours.disconnect()
        connecting = asyncio.create_task(ours.connect(PATIENCE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        abandoned.clear()
        gc.collect()
        with pytest.raises(ConnectInProgressError):  # the new one is still known of
            await ours.connect(0)
        connecting.cancel()
        await asyncio.wait({connecting})
        await ours.close()

    in_a_loop(connect_again)
    assert open_descriptors() == before


@pytest.mark.parametrize("state", ["resting", "closed"])
def test_a_close_in_another_loop_than_the_one_that_looks_for_peers(
    transport: Any, state: str, new_loop: Callable[[], Any]
) -> None:
    """After a connect that has missed its peer: nothing is under way in the first loop."""
    first = new_loop()
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    assert not first.run_until_complete(server.connect(0))
    listening = server._listener._socket.fileno() if transport == "tcp" else 10**6  # type: ignore[attr-defined]  # looks inside
    if state == "closed":
        first.close()
        before = {text for text in before if text in open_descriptors()}
    in_a_loop(server.close)
    assert open_descriptors() == before
    if transport == "tcp":
        with pytest.raises(ConnectionRefusedError):
            dial(server.out_path, server.in_path)
    if state == "resting":
        assert not first.remove_reader(listening), "no dead entry is left"
        first.close()
