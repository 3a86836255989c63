"""What only named pipes have: the order of opening, ownership, pipe sizes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ipc_channel import (
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
    PosixNamedPipeProtocol,
    make_ipc_channel,
)
from named_pipes import has_writer
from raw import (
    CLOSE,
    PATIENCE,
    Raw,
    Rendezvous,
    dial,
    dial_nonblocking,
    eventually,
    frame,
    meet,
)
from waiting import until_connect_waits


def test_named_pipes_are_the_default_on_linux() -> None:
    channel = make_ipc_channel()
    assert type(channel) is PosixNamedPipeChannel
    asyncio.run(channel.close())


@pytest.mark.covers("RDV-20")
async def test_the_directory_is_private_and_goes_with_close() -> None:
    channel = PosixNamedPipeChannel()
    directory = os.path.dirname(channel.in_path)
    assert os.path.dirname(channel.out_path) == directory
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    for path in (channel.in_path, channel.out_path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    await channel.close()
    assert not os.path.exists(directory)


@pytest.mark.covers("RDV-22")
@pytest.mark.parametrize("order", ["rw", "wr"])
@pytest.mark.parametrize("opening", [dial, dial_nonblocking])
@pytest.mark.parametrize("first", ["server", "client"])
async def test_every_order_of_opening(order: str, opening: Any, first: str) -> None:
    server = PosixNamedPipeChannel()
    meeting: asyncio.Task[Raw]
    if first == "client":
        meeting = asyncio.create_task(
            asyncio.to_thread(opening, server.out_path, server.in_path, order)
        )
        await asyncio.sleep(0.01)  # it has begun by then; if not, that ends well too
        connecting = asyncio.create_task(server.connect(PATIENCE))
    else:
        connecting = asyncio.create_task(server.connect(PATIENCE))
        await until_connect_waits(server)
        meeting = asyncio.create_task(
            asyncio.to_thread(opening, server.out_path, server.in_path, order)
        )
    peer = await meeting
    assert await connecting
    peer.send(frame(b"there"))
    assert await server.read() == b"there"
    await server.write(b"back")
    assert await asyncio.to_thread(peer.recv_frame) == b"back"
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-26")
async def test_a_silent_peer_is_no_end() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    reading = asyncio.create_task(server.read())
    await asyncio.sleep(0.3)  # in which its silence would be taken for an end
    assert not reading.done()
    peer.send(frame(b"finally"))
    assert await reading == b"finally"
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-21")
async def test_pipes_that_appear_later(tmp_path: Path) -> None:
    client = PosixNamedPipeChannelClient(f"{tmp_path}/out", f"{tmp_path}/in")
    assert not await client.connect(0.05)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await until_connect_waits(client)
    rendezvous = Rendezvous("named_pipe", tmp_path)
    peer = await asyncio.to_thread(rendezvous.accept)
    assert await connecting
    peer.close()
    await client.close()


async def test_a_forked_child_that_holds_the_pipes_does_not_delay_the_end() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    held = [os.dup(fd) for fd in (peer.in_fd, peer.out_fd)]
    peer.send(frame(b"bye") + CLOSE)
    peer.close()
    assert await server.read() == b"bye"
    assert await server.read() is None
    assert server.end_reason == "clean"
    for fd in held:
        os.close(fd)
    await server.close()


async def test_a_small_pipe_carries_a_large_message() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    message = os.urandom(2**20)
    with contextlib.suppress(OSError):
        fcntl.fcntl(peer.in_fd or 0, fcntl.F_SETPIPE_SZ, 8192)
    writing = asyncio.create_task(server.write(message))
    assert await asyncio.to_thread(peer.recv_frame) == message
    await writing
    peer.close()
    await server.close()


async def test_pipes_grow_only_when_they_are_too_small() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    await server.write(b"small")
    small = fcntl.fcntl(peer.in_fd, fcntl.F_GETPIPE_SZ)
    writing = asyncio.create_task(server.write(bytes(3 * 2**20)))
    await eventually(lambda: fcntl.fcntl(peer.in_fd or 0, fcntl.F_GETPIPE_SZ) == 2**20)
    assert small < 2**20
    peer.close()
    with pytest.raises(ConnectionError):
        await writing
    await server.close()


async def test_the_protocol_by_itself(paths: tuple[str, str]) -> None:
    one = PosixNamedPipeProtocol(*paths)
    other = PosixNamedPipeProtocol(paths[1], paths[0])
    assert all(await asyncio.gather(one.connect(PATIENCE), other.connect(PATIENCE)))
    await one.write(b"ping")
    assert await other.read() == b"ping"
    await one.close()
    assert await other.read() is None
    await other.close()


def test_a_channel_that_could_not_be_made_leaves_no_directory() -> None:
    with pytest.raises(ValueError, match="max_message_size") as caught:
        PosixNamedPipeChannel(max_message_size=0)
    left = os.listdir(tempfile.gettempdir())
    assert left == [], caught  # which holds on to all variables


async def test_an_abort_leaves_a_peer_that_a_connect_is_meeting_alone() -> None:
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    reading = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
    await eventually(lambda: has_writer(reading))  # half met
    server.abort()
    assert has_writer(reading)
    writing = os.open(server.in_path, os.O_WRONLY)
    assert await connecting
    os.write(writing, frame(b"met"))
    assert await server.read() == b"met"
    os.close(writing)
    os.close(reading)
    await server.close()
