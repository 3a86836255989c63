"""What only named pipes have: the order of opening, passers-by, ownership, pipe sizes."""

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
    open_nonblocking,
)


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
        await asyncio.sleep(0.01)
        connecting = asyncio.create_task(server.connect(PATIENCE))
    else:
        connecting = asyncio.create_task(server.connect(PATIENCE))
        await asyncio.sleep(0.01)
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
    await asyncio.sleep(0.3)
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
    await asyncio.sleep(0.01)
    rendezvous = Rendezvous("named_pipe", tmp_path)
    peer = await asyncio.to_thread(rendezvous.accept)
    assert await connecting
    peer.close()
    await client.close()


@pytest.mark.covers("RDV-23")
async def test_pipes_that_are_replaced_while_the_client_waits(
    paths: tuple[str, str],
) -> None:
    in_path, out_path = paths
    client = PosixNamedPipeChannelClient(out_path, in_path)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await asyncio.sleep(0.01)  # it holds the reading end of the old pipe by now
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
    await asyncio.sleep(0.01)
    peer.close()
    assert await server.read() is None, "the early client does not keep this session alive"
    assert await server.connect(PATIENCE)
    assert await connecting
    await early.write(b"second")
    assert await server.read() == b"second"
    await early.close()
    await server.close()


async def test_a_forked_child_that_holds_the_pipes_does_not_delay_the_end() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    held = [os.dup(fd) for fd in (peer.in_fd, peer.out_fd) if fd is not None]
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
    assert peer.in_fd is not None
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
    """Whoever opens the names then gets into the next session, not into this one."""
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


def test_a_channel_that_could_not_be_made_leaves_no_directory() -> None:
    with pytest.raises(ValueError, match="max_message_size") as caught:
        PosixNamedPipeChannel(max_message_size=0)
    left = os.listdir(tempfile.gettempdir())
    assert left == [], caught  # which holds on to all variables


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
    settling = server._session._stream._settling
    await server.disconnect()
    assert settling.cancelled()
    peer.close()
    await server.close()


def has_writer(fd: int) -> bool:
    try:
        return os.read(fd, 1) != b""
    except BlockingIOError:
        return True


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
