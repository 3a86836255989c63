"""Channels and the event loops they outlive: a session does not move, its channel does."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ipc_channel import IPCChannel, WrongLoopError, make_ipc_channel
from raw import PATIENCE, Raw, frame, meet, open_descriptors


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
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it complains of tasks that wait
    connecting = loop.create_task(server.connect(PATIENCE))
    reader = None
    if half_met and transport == "named_pipe":
        reader = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    in_a_loop(server.close)
    if reader is not None:
        os.close(reader)
    assert open_descriptors() == before
    del connecting
    gc.collect()
