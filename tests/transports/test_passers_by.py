"""Named pipes that others open too, before and beside the peer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
    PosixNamedPipeProtocol,
)
from ipc_channel.transports import pipe_connector, pipe_stream
from ipc_channel.transports.pipe_address import PipeAddress
from ipc_channel.transports.pipe_connector import PipeConnector
from ipc_channel.transports.pipe_stream import PipeStream
from raw import PATIENCE, Raw, dial, eventually, frame, meet, open_nonblocking
from waiting import until_waits


@pytest.mark.covers("RDV-24")
@pytest.mark.parametrize("passing", ["r", "w", "rw"])
async def test_a_passer_by_before_the_peer(passing: str) -> None:
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    for _ in range(3):
        if "r" in passing:
            await _pass_by(server.out_path, os.O_RDONLY)
        if "w" in passing:
            await _pass_by(server.in_path, os.O_WRONLY)
    assert not connecting.done(), "one direction alone is no peer"
    peer = await asyncio.to_thread(dial, server.out_path, server.in_path)
    assert await connecting
    peer.send(frame(b"the real one"))
    assert await server.read() == b"the real one"
    peer.close()
    await server.close()


async def _pass_by(path: str, mode: int) -> None:
    fd = await asyncio.to_thread(open_nonblocking, path, mode)
    await asyncio.sleep(0.03)  # time to take it for the peer
    os.close(fd)


@pytest.mark.covers("RDV-24", "RDV-26", "RDV-28")
@pytest.mark.parametrize("role", ["server", "client"])
async def test_a_passer_by_while_the_peer_opens(
    paths: tuple[str, str], role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passer-by writes where the peer is only about to: its leaving is no end."""
    monkeypatch.setattr("ipc_channel.transports.pipe_stream._SETTLED", PATIENCE)
    ours: PosixNamedPipeProtocol
    if role == "server":
        ours = server = PosixNamedPipeChannel()
        in_path, out_path = server.in_path, server.out_path
    else:
        in_path, out_path = paths
        ours = PosixNamedPipeChannelClient(in_path, out_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE))
    reader = os.open(out_path, os.O_RDONLY | os.O_NONBLOCK)  # the peer's first half
    passer_by = await asyncio.to_thread(open_nonblocking, in_path, os.O_WRONLY)
    assert await connecting
    reading = asyncio.create_task(ours.read())
    await until_waits(reading)
    os.close(passer_by)
    await asyncio.sleep(0.05)  # in which the read would have ended
    assert not reading.done(), "the end of a passer-by was taken for the peer's"
    peer = Raw(reader, os.open(in_path, os.O_WRONLY))  # the peer's second half
    peer.send(frame(b"at last"))
    assert await reading == b"at last"
    peer.close()
    assert await ours.read() is None
    await ours.close()


async def test_names_stay_for_a_peer_that_is_still_opening() -> None:
    """A silent peer settles after a while, but this was only a stray opener."""
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    reader = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)  # the peer's first half
    passer_by = await asyncio.to_thread(open_nonblocking, server.in_path, os.O_WRONLY)
    assert await connecting
    stream = server.session.stream  # type: ignore[union-attr]  # looks inside
    assert isinstance(stream, PipeStream)
    os.close(passer_by)
    await eventually(lambda: stream._stray_opener_left)
    stream._settle()  # as its timer does
    peer = Raw(reader, os.open(server.in_path, os.O_WRONLY))  # the peer's second half
    peer.send(frame(b"at last"))
    assert await server.read() == b"at last"
    peer.close()
    await server.close()


async def test_close_while_a_passer_by_is_waited_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = PosixNamedPipeChannel(linger=0)
    peer = await meet(server)
    stream = server.session.stream  # type: ignore[union-attr]  # looks inside
    assert isinstance(stream, PipeStream)
    peer.end_writing()
    await eventually(lambda: stream._stray_opener_left)
    watched: list[object] = []
    await server.close()
    monkeypatch.setattr(stream, "start_reading", watched.append)
    await asyncio.sleep(0.05)  # longer than it takes to look again
    assert watched == [], "a descriptor that may be another's by now is watched"
    peer.close()


async def test_passers_by_leave_no_descriptors() -> None:
    before = open_descriptors()
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    for _ in range(3):
        fd = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
        await asyncio.sleep(0.05)  # time to take it for the peer
        os.close(fd)
        await asyncio.sleep(0.05)  # and to let go of it
    await server.close()
    assert await connecting is False
    assert open_descriptors() == before


@pytest.mark.covers("RDV-29")
async def test_what_a_passer_by_leaves_stays_open(paths: tuple[str, str]) -> None:
    """The peer may be opening its ends just now, and takes ours for there."""
    opening = PipeConnector(PipeAddress(*paths))
    loop = asyncio.get_running_loop()
    assert opening.attempt(loop) is None
    passer_by = os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK)
    assert opening.attempt(loop) is None
    mine = open_descriptors()
    os.close(passer_by)
    assert opening.attempt(loop) is None
    assert len(mine - open_descriptors()) == 1, "the passer-by's own"
    opening.close()


def after_looks(count: int, happens: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Let something happen once an end has looked at its pipes ``count`` times."""
    done = 0

    def looking(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*arguments: Any) -> Any:
            nonlocal done
            try:
                return look(*arguments)
            finally:
                done += 1
                if done == count:
                    happens()

        return looked

    patch.setattr(pipe_connector, "poll", looking(pipe_stream.poll))
    patch.setattr(os, "read", looking(os.read))


@pytest.mark.covers("RDV-24", "RDV-28")
@pytest.mark.parametrize("looks", [1, 2, 3])
@pytest.mark.parametrize("first", ["reads", "writes"])
async def test_two_passers_by_of_whom_one_leaves_as_the_other_comes(
    paths: tuple[str, str], first: str, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer holds both pipes at one moment."""
    opening = PipeConnector(PipeAddress(*paths))
    loop = asyncio.get_running_loop()
    reader = os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK)
    assert opening.attempt(loop) is None, "both are open from now on"
    held = [reader]
    if first == "writes":
        os.close(held.pop())
        held.append(os.open(paths[0], os.O_WRONLY | os.O_NONBLOCK))

    def change_places() -> None:
        os.close(held.pop())
        way = (paths[0], os.O_WRONLY) if first == "reads" else (paths[1], os.O_RDONLY)
        held.append(os.open(way[0], way[1] | os.O_NONBLOCK))

    with monkeypatch.context() as patch:
        after_looks(looks, change_places, patch)
        assert opening.attempt(loop) is None
    assert opening.is_open
    opening.close()
    os.close(held.pop())
