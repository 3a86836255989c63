"""What is left when connect, its cancellation and close meet."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    BadRendezvousError,
    ConnectInProgressError,
    IPCChannel,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.aio.status import Status
from ipc_channel.transports import pipe_connector
from raw import PATIENCE, Raw, dial, eventually, frame, meet, open_nonblocking


async def halfway(server: IPCChannel, half: str) -> tuple[asyncio.Task[bool], int]:
    """Let ``connect`` find one half of its peer."""
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    path = server.out_path if half == "reader" else server.in_path
    mode = os.O_RDONLY if half == "reader" else os.O_WRONLY
    fd = await asyncio.to_thread(open_nonblocking, path, mode)
    pipes = server._pipes  # type: ignore[attr-defined]  # looks inside
    await eventually(lambda: half == "writer" or pipes._is_read())
    return connecting, fd


@pytest.mark.parametrize("half", ["reader", "writer"])
@pytest.mark.parametrize("turns", range(4))
async def test_close_after_a_cancelled_connect_frees_everything(
    half: str, turns: int
) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    connecting.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    await server.close()
    await asyncio.wait({connecting})
    os.close(fd)
    assert open_descriptors() == before


@pytest.mark.parametrize("half", ["reader", "writer"])
async def test_close_while_half_met_frees_everything(half: str) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    await server.close()
    assert len(open_descriptors() - before) == 1, "that of the peer"
    assert await connecting is False
    os.close(fd)


@pytest.mark.parametrize("half", ["reader", "writer"])
async def test_close_frees_the_half_that_was_kept(half: str) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    connecting.cancel()
    await asyncio.wait({connecting})
    assert len(open_descriptors() - before) >= 2, "it was kept"
    await server.close()
    os.close(fd)
    assert open_descriptors() == before


@pytest.mark.covers("RDV-13")
@pytest.mark.parametrize("half", ["reader", "writer"])
async def test_a_half_that_was_met_is_kept(half: str) -> None:
    """A peer that opens its pipes one after the other may be interrupted in between."""
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    connecting.cancel()
    await asyncio.wait({connecting})
    if half == "reader":
        peer = Raw(fd, open_nonblocking(server.in_path, os.O_WRONLY))
    else:
        peer = Raw(os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK), fd)
    peer.send(frame(b"not lost"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"not lost"
    peer.close()
    await server.close()


@pytest.mark.parametrize("message", [b"", b"early"])
async def test_what_a_kept_half_wrote_is_kept(message: bytes) -> None:
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, "writer")
    if message:
        os.write(fd, frame(message))
    connecting.cancel()
    await asyncio.wait({connecting})
    os.write(fd, frame(b"and later"))
    os.close(fd)
    assert await server.connect(PATIENCE)
    wanted = [message, b"and later"] if message else [b"and later"]
    assert [one async for one in server] == wanted
    await server.close()


async def test_a_connect_that_is_cancelled_twice(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0.005)
    connecting.cancel()
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait({connecting})
    assert connecting.cancelled()
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while True:
        with contextlib.suppress(ConnectInProgressError):
            assert await server.connect(PATIENCE)
            break
        await asyncio.sleep(0)
    (await meeting).close()
    await server.close()


async def test_a_channel_that_is_closed_as_its_peer_is_found(transport: Any) -> None:
    server: Any = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while server._status is not Status.PENDING:  # connect itself has not seen it yet
        await asyncio.sleep(0)
    assert not connecting.done()
    await server.close()
    assert await connecting is False
    (await meeting).close()


async def test_an_error_that_nobody_waits_for_is_no_complaint(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, what: complaints.append(what)
    )

    begun = asyncio.Event()

    async def fail_late(_: float) -> None:
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            raise OSError("too late")

    server = make_ipc_channel(transport=transport)
    monkeypatch.setattr(server, "_open", fail_late)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await begun.wait()
    connecting.cancel()
    await asyncio.wait({connecting})
    await server.close()
    del connecting
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.covers("RDV-1", "RDV-11")
async def test_one_pipe_under_two_names_stays_refused(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    os.mkfifo(one)
    os.link(one, other)
    opening = asyncio.create_task(asyncio.to_thread(os.open, one, os.O_WRONLY))
    before = open_descriptors()
    client = make_ipc_channel_client(one, other)
    try:
        for _ in range(2):
            with pytest.raises(BadRendezvousError, match="the same pipe"):
                await client.connect(PATIENCE)
            assert open_descriptors() == before
        await client.close()
        await asyncio.sleep(0.01)
        assert not opening.done(), "nothing was opened"
    finally:
        reader = os.open(one, os.O_RDONLY | os.O_NONBLOCK)
        os.close(await opening)
        os.close(reader)


async def test_a_second_name_that_comes_later_is_refused(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    os.mkfifo(one)
    client = make_ipc_channel_client(one, other)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await asyncio.to_thread(_once_read, one)
    os.link(one, other)
    with pytest.raises(BadRendezvousError, match="the same pipe"):
        await connecting
    await client.close()


@pytest.mark.covers("RDV-13")
async def test_half_a_peer_is_kept_when_an_attempt_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = make_ipc_channel(transport="named_pipe")
    connecting = asyncio.create_task(server.connect(PATIENCE))
    writer = await asyncio.to_thread(open_nonblocking, server.in_path, os.O_WRONLY)

    def full(*_: Any) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await connecting
    os.write(writer, frame(b"still here"))
    reader = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"still here"
    os.close(writer)
    os.close(reader)
    await server.close()


@pytest.mark.covers("RDV-23")
async def test_a_client_lets_go_of_a_pipe_whose_name_has_gone(
    paths: tuple[str, str],
) -> None:
    before = open_descriptors()
    client = make_ipc_channel_client(*paths)
    connecting = asyncio.create_task(client.connect(2 * PATIENCE))
    await asyncio.to_thread(_once_read, paths[0])
    os.unlink(paths[0])
    await eventually(lambda: open_descriptors() == before)
    await client.close()
    assert not await connecting


@pytest.mark.covers("RDV-10")
@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_client_that_gives_up_leaves_nothing_open(
    paths: tuple[str, str], how: str
) -> None:
    """Not even for somebody who reads, as it may not come back."""
    before = open_descriptors()
    reader = os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK)
    client = make_ipc_channel_client(*paths)
    if how == "timeout":
        assert not await client.connect(0.01)
    else:
        connecting = asyncio.create_task(client.connect(PATIENCE))
        await asyncio.to_thread(_once_read, paths[0])
        connecting.cancel()
        await asyncio.wait({connecting})
    os.close(reader)
    assert open_descriptors() == before
    await client.close()


@pytest.mark.covers("RDV-23", "RDV-25")
@pytest.mark.parametrize("names", ["removed", "replaced", "removed in part"])
@pytest.mark.parametrize("has_read", [False, True])
async def test_a_server_that_comes_and_goes_between_opening_and_looking(
    paths: tuple[str, str], names: str, has_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has met us, written and left by the time that we look at the names."""
    client = make_ipc_channel_client(*paths)
    reader = os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK)

    def open_pipe(path: str, mode: int, real: Any = pipe_connector._open_pipe) -> int:
        nonlocal reader
        if mode == os.O_RDONLY or reader == -1:
            fd: int = real(path, mode)
            return fd
        fd = real(path, mode) if has_read else -1
        writer = os.open(paths[0], os.O_WRONLY | os.O_NONBLOCK)
        os.write(writer, frame(b"precious"))
        os.close(writer)
        os.close(reader)
        reader = -1
        for name in paths[:1] if names == "removed in part" else paths:
            os.unlink(name)
            if names == "replaced":
                os.mkfifo(name)
        return fd if has_read else real(path, mode)

    monkeypatch.setattr(pipe_connector, "_open_pipe", open_pipe)
    assert await client.connect(1)
    assert await client.read() == b"precious"
    assert await client.read() is None
    await client.close()


@pytest.mark.covers("RDV-23")
async def test_one_pipe_of_the_old_pair_and_one_of_the_new(
    paths: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server replaces both as the client has opened the first."""
    client = make_ipc_channel_client(*paths)
    readers: list[int] = []

    def open_pipe(path: str, mode: int, real: Any = pipe_connector._open_pipe) -> int:
        if mode == os.O_WRONLY and not readers:
            for name in reversed(paths):
                os.mkfifo(name + ".new")
                os.rename(name + ".new", name)
            readers.append(os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK))
        fd: int = real(path, mode)
        return fd

    monkeypatch.setattr(pipe_connector, "_open_pipe", open_pipe)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await eventually(lambda: bool(readers))
    writer = await asyncio.to_thread(open_nonblocking, paths[0], os.O_WRONLY)
    os.write(writer, frame(b"of the new pair"))
    assert await connecting
    assert await client.read() == b"of the new pair"
    os.close(writer)
    os.close(readers[0])
    await client.close()


@pytest.mark.covers("RDV-23")
async def test_a_client_notices_new_pipes_while_nobody_reads_its_own(
    paths: tuple[str, str],
) -> None:
    """A server may open its writing end first, and wait there for a reader."""
    client = make_ipc_channel_client(*paths)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await asyncio.to_thread(_once_read, paths[0])
    for path in paths:
        os.mkfifo(path + ".new")
        os.rename(path + ".new", path)
    writer = await asyncio.to_thread(open_nonblocking, paths[0], os.O_WRONLY)
    reader = os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK)
    assert await connecting
    os.write(writer, frame(b"from the new server"))
    assert await client.read() == b"from the new server"
    os.close(writer)
    os.close(reader)
    await client.close()


@pytest.mark.covers("RDV-23")
async def test_no_new_pipe_is_opened_beside_an_old_one(paths: tuple[str, str]) -> None:
    """Even while somebody still writes to the old one."""
    client = make_ipc_channel_client(*paths)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    old = await asyncio.to_thread(open_nonblocking, paths[0], os.O_WRONLY)
    for path in paths:
        os.mkfifo(path + ".new")
        os.rename(path + ".new", path)
    reader = os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK)
    writer = await asyncio.to_thread(open_nonblocking, paths[0], os.O_WRONLY)
    assert await connecting
    os.write(writer, frame(b"of the new pair"))
    assert await client.read() == b"of the new pair"
    for fd in (old, reader, writer):
        os.close(fd)
    await client.close()


def _once_read(path: str) -> None:
    """Wait until somebody reads ``path``."""
    os.close(open_nonblocking(path, os.O_WRONLY))


async def test_pipes_that_were_removed_are_made_anew() -> None:
    """By a cleaner of old files, for instance."""
    server = make_ipc_channel(transport="named_pipe")
    os.unlink(server.in_path)
    assert not await server.connect(0)
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    assert await server.connect(PATIENCE)
    (await meeting).close()
    await server.close()


async def test_disconnect_keeps_the_channel(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    await server.disconnect()
    for number in range(3):
        peer = await meet(server)
        await server.write(b"%d" % number)
        disconnecting = asyncio.create_task(server.disconnect())
        assert await asyncio.to_thread(peer.recv_all) == [b"%d" % number]
        peer.close()
        await disconnecting
        assert await server.read() is None
        assert server.end_reason == "local"
    await server.close()


async def test_what_was_in_the_way_is_told(tmp_path: Path, paths: tuple[str, str]) -> None:
    server = make_ipc_channel(transport="tcp")
    missing = str(tmp_path / "missing")
    read = str(tmp_path / "read")
    os.mkfifo(read)
    reader = os.open(read, os.O_RDONLY | os.O_NONBLOCK)
    ways: list[tuple[Any, str]] = [
        (make_ipc_channel_client(missing, paths[1]), f"'{missing}' does not exist"),
        (make_ipc_channel_client(*paths), f"nobody reads '{paths[1]}'"),
        (make_ipc_channel_client(paths[0], read), f"nobody writes to '{paths[0]}'"),
        (make_ipc_channel_client("1", "1"), r"port=1 did not connect in 0 s: .*refused"),
        (server, f"port={server.in_path} did not connect in 0 s: no client came"),
    ]
    for channel, text in ways:
        assert not await channel.connect(0)
        with pytest.raises(TimeoutError, match=text):
            raise channel.last_exception
    for channel, _ in ways:
        await channel.close()
    os.close(reader)


async def test_a_channel_that_is_closed_has_missed_nobody(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    await server.close()
    assert await connecting is False
    assert server.last_exception is None


async def test_a_missed_peer_is_forgotten_with_the_next(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    assert not await server.connect(0)
    assert server.last_exception is not None
    peer = await meet(server)
    assert server.last_exception is None
    peer.close()
    await server.close()
