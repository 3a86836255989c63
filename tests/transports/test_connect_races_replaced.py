"""Named pipes that are replaced, renamed or removed while a client connects."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    BadRendezvousError,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.transports import pipe_connector
from raw import PATIENCE, dial, eventually, frame, open_nonblocking


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
        await asyncio.sleep(0.01)  # in which it would have been opened
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
    """Not even for a reader, as it may not come back."""
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

    def open_pipe(path: str, mode: int, real: Any = pipe_connector.open_pipe) -> int:
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

    monkeypatch.setattr(pipe_connector, "open_pipe", open_pipe)
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

    def open_pipe(path: str, mode: int, real: Any = pipe_connector.open_pipe) -> int:
        if mode == os.O_WRONLY and not readers:
            for name in reversed(paths):
                os.mkfifo(name + ".new")
                os.rename(name + ".new", name)
            readers.append(os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK))
        fd: int = real(path, mode)
        return fd

    monkeypatch.setattr(pipe_connector, "open_pipe", open_pipe)
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
    """Even while a process still writes to the old one."""
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
    """Wait until ``path`` has a reader."""
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
