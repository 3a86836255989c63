"""Named pipes are replaced once a session has settled, or at its end."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from ipc_channel import (
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
)
from raw import (
    PATIENCE,
    Raw,
    eventually,
    frame,
    meet,
    open_nonblocking,
)
from waiting import until_connect_waits


@pytest.mark.covers("RDV-23")
async def test_pipes_that_are_replaced_while_the_client_waits(
    paths: tuple[str, str],
) -> None:
    in_path, out_path = paths
    client = PosixNamedPipeChannelClient(out_path, in_path)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await until_connect_waits(client)  # it holds the reading end of the old pipe
    for path in paths:
        os.mkfifo(path + ".new")
        os.rename(path + ".new", path)
    peer = Raw(
        os.open(in_path, os.O_RDONLY | os.O_NONBLOCK),
        await asyncio.to_thread(open_nonblocking, out_path, os.O_WRONLY),
    )
    assert await connecting
    peer.send(frame(b"on the new one"))
    assert await client.read() == b"on the new one"
    peer.close()
    await client.close()


@pytest.mark.covers("RDV-23")
async def test_a_pipe_that_is_replaced_just_as_it_is_opened(
    paths: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is one session ahead has new names in place one after the other."""
    in_path, out_path = paths
    readers = [os.open(in_path, os.O_RDONLY | os.O_NONBLOCK)]
    real = os.open

    def open_and_replace(path: str, flags: int) -> int:
        fd = real(path, flags)
        if path == in_path and flags & os.O_WRONLY and len(readers) == 1:
            for name in paths:
                os.mkfifo(name + ".new")
                os.rename(name + ".new", name)
            readers.append(real(path, os.O_RDONLY | os.O_NONBLOCK))
        return fd

    client = PosixNamedPipeChannelClient(out_path, in_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_and_replace)
        connecting = asyncio.create_task(client.connect(PATIENCE))
        await eventually(lambda: len(readers) == 2)
        writer = await asyncio.to_thread(open_nonblocking, out_path, os.O_WRONLY)
        assert await connecting
    peer = Raw(readers[-1], writer)
    await client.write(b"to the new one")
    assert await asyncio.to_thread(peer.recv_frame) == b"to the new one"
    peer.close()
    await client.close()
    os.close(readers[0])


@pytest.mark.covers("RDV-27")
async def test_names_lead_to_the_next_session_once_this_one_has_begun() -> None:
    """A client that is early for the next session neither sees nor disturbs this one."""
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    peer.send(frame(b"first"))
    assert await server.read() == b"first"
    early = PosixNamedPipeChannelClient(server.out_path, server.in_path)
    assert not await early.connect(0.05)
    connecting = asyncio.create_task(early.connect(PATIENCE))
    await until_connect_waits(early)
    peer.close()
    assert await server.read() is None, "the early client does not keep this session alive"
    assert await server.connect(PATIENCE)
    assert await connecting
    await early.write(b"second")
    assert await server.read() == b"second"
    await early.close()
    await server.close()


@pytest.mark.covers("RDV-27")
async def test_a_silent_session_leaves_new_names_at_its_end() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    held = os.fstat(peer.out_fd or 0).st_ino
    peer.close()
    assert await server.read() is None
    assert os.stat(server.in_path).st_ino != held, "before connect is called again"
    await server.close()


@pytest.mark.covers("RDV-27")
async def test_a_silent_peer_settles_after_a_while() -> None:
    """A client that opens the paths afterwards gets the next session, not this one."""
    server = PosixNamedPipeChannel()
    held = os.stat(server.in_path).st_ino
    peer = await meet(server)
    await eventually(lambda: os.stat(server.in_path).st_ino != held)
    peer.send(frame(b"this session goes on"))
    assert await server.read() == b"this session goes on"
    peer.close()
    await server.close()


async def test_a_byte_that_comes_between_looking_and_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is read on finding the peer: part of the stream, and proof of a session."""
    monkeypatch.setattr("ipc_channel.transports.pipe_stream._SETTLED", PATIENCE)
    server = PosixNamedPipeChannel()
    held = os.stat(server.in_path).st_ino
    connecting = asyncio.create_task(server.connect(PATIENCE))
    writer = await asyncio.to_thread(open_nonblocking, server.in_path, os.O_WRONLY)
    real = os.read

    def read(fd: int, size: int) -> bytes:
        if size == 1:
            os.write(writer, frame(b"just now"))
        return real(fd, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        peer = Raw(os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK), writer)
        assert await connecting
    assert os.stat(server.in_path).st_ino != held, "the session has settled"
    assert await server.read() == b"just now"
    peer.close()
    assert await server.read() is None
    await server.close()


async def test_pipes_are_replaced_at_the_end_of_a_session_that_never_settled() -> None:
    server = PosixNamedPipeChannel()
    before = os.stat(server.in_path).st_ino
    peer = await meet(server)
    peer.close()
    assert await server.read() is None
    assert os.stat(server.in_path).st_ino != before
    await server.close()


async def test_an_ended_session_settles_no_more() -> None:
    """Its timer would replace the pipes of the next one."""
    server: Any = PosixNamedPipeChannel()
    peer = await meet(server)
    settling = server.session.stream._settling
    await server.disconnect()
    assert settling.cancelled()
    peer.close()
    await server.close()
