"""Peers that open only one of their pipes, or both too briefly."""

from __future__ import annotations

import asyncio
import os

import pytest

from ipc_channel import (
    PeerGoneError,
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
)
from named_pipes import has_writer
from raw import CLOSE, PATIENCE, Raw, eventually, frame, meet, open_nonblocking


async def test_a_peer_that_only_writes() -> None:
    """It was there with both ends, if only for a moment; what it wrote is delivered."""
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    reader = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
    await eventually(lambda: has_writer(reader))
    writer = os.open(server.in_path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, frame(b"only this"))
    os.close(reader)
    assert await connecting
    assert await server.read() == b"only this"
    os.close(writer)
    assert await server.read() is None
    await server.close()


@pytest.mark.parametrize("replaced", ["both", "the one that is read"])
async def test_a_server_that_dies_while_it_opens(
    paths: tuple[str, str], replaced: str
) -> None:
    """The next one has new pipes of the same names, which the client has to find."""
    in_path, out_path = paths  # the server's
    client = PosixNamedPipeChannelClient(out_path, in_path)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    if replaced == "both":  # and the first server had opened one of them
        reader = os.open(in_path, os.O_RDONLY | os.O_NONBLOCK)
        await eventually(lambda: has_writer(reader))
        os.close(reader)
        os.unlink(in_path)
    else:
        os.close(await asyncio.to_thread(os.open, out_path, os.O_WRONLY))  # it is open
    os.unlink(out_path)
    await asyncio.sleep(0.05)  # in which it would have given up
    assert not connecting.done()
    if replaced == "both":
        os.mkfifo(in_path)
    reader = os.open(in_path, os.O_RDONLY | os.O_NONBLOCK)
    await asyncio.sleep(0.05)  # in which it would open them, or not
    os.mkfifo(out_path)
    peer = Raw(reader, await asyncio.to_thread(open_nonblocking, out_path, os.O_WRONLY))
    assert await connecting
    peer.send(frame(b"from the second"))
    assert await client.read() == b"from the second"
    peer.close()
    await client.close()


@pytest.mark.covers("RDV-31")
async def test_a_silent_peer_that_closes_slowly_is_noticed() -> None:
    """Its two descriptors go one after the other, and it never sent a byte."""
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    reading = asyncio.create_task(server.read())
    peer.end_writing()
    await asyncio.sleep(0.1)  # in which it would be taken for gone
    assert not reading.done()
    peer.end_reading()
    assert await asyncio.wait_for(reading, PATIENCE) is None
    assert server.end_reason == "eof"
    await server.close()


@pytest.mark.covers("RDV-24")
async def test_a_helper_that_dies_while_it_opens_is_no_peer() -> None:
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(0.1))
    fd = await asyncio.to_thread(open_nonblocking, server.out_path, os.O_RDONLY)
    await eventually(lambda: connecting.done() or server._pipes.is_read())
    os.close(fd)
    assert not await connecting
    await server.close()


@pytest.mark.covers("RDV-25", "SES-26")
@pytest.mark.parametrize("first", ["r", "w"])
async def test_came_wrote_and_left(first: str) -> None:
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    fds = []
    if first == "r":
        fds.append(os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK))
    writer = await asyncio.to_thread(open_nonblocking, server.in_path, os.O_WRONLY)
    os.write(writer, frame(b"I was here") + frame(b"and left") + CLOSE)
    for fd in [*fds, writer]:
        os.close(fd)
    assert await connecting
    assert await server.read() == b"I was here"
    assert await server.read() == b"and left"
    assert await server.read() is None
    with pytest.raises(PeerGoneError, match="Broken pipe"):
        await server.write(b"nobody there")
    await server.close()


@pytest.mark.covers("SES-4", "SES-5")
async def test_a_peer_that_ends_its_direction_after_a_byte() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    peer.send(frame(b"last"))
    assert await server.read() == b"last"
    peer.end_writing()
    assert await asyncio.wait_for(server.read(), PATIENCE) is None
    assert server.end_reason == "eof"
    await server.write(b"the other goes on")
    assert await asyncio.to_thread(peer.recv_frame) == b"the other goes on"
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-26")
async def test_a_write_before_the_reading_end_is_opened() -> None:
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    writer = await asyncio.to_thread(open_nonblocking, server.in_path, os.O_WRONLY)
    os.write(writer, frame(b"early"))
    await asyncio.sleep(0.05)  # in which it would be met
    assert not connecting.done(), "it has no way to answer yet"
    peer = Raw(os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK), writer)
    assert await connecting
    assert await server.read() == b"early"
    await server.write(b"answer")
    assert await asyncio.to_thread(peer.recv_frame) == b"answer"
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-26")
async def test_a_peer_that_comes_writes_and_leaves_between_two_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it reads is asked before what it wrote is looked for."""
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    reader = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
    passer_by = await asyncio.to_thread(open_nonblocking, server.in_path, os.O_WRONLY)
    assert await connecting
    in_path, read = server.in_path, os.read

    def read_and_be_late(fd: int, size: int) -> bytes:
        data = read(fd, size)
        if not data:
            monkeypatch.setattr(os, "read", read)
            peer = Raw(reader, os.open(in_path, os.O_WRONLY))
            peer.send(frame(b"just in time"))
            peer.close()
        return data

    monkeypatch.setattr(os, "read", read_and_be_late)
    os.close(passer_by)
    assert await server.read() == b"just in time"
    assert await server.read() is None
    await server.close()
