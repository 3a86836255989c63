"""Named pipes that a cleaner of temporary files removes are made anew."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable

import pytest

from ipc_channel import (
    PosixNamedPipeChannel,
)
from named_pipes import check_session, client_of, remove_directory, until_read
from raw import CLOSE, PATIENCE, frame, meet


def remove_in(server: PosixNamedPipeChannel) -> None:
    os.unlink(server.in_path)


def remove_out(server: PosixNamedPipeChannel) -> None:
    os.unlink(server.out_path)


def empty_directory(server: PosixNamedPipeChannel) -> None:
    remove_in(server)
    remove_out(server)


Cleaner = Callable[[PosixNamedPipeChannel], None]
CLEANERS = [remove_directory, empty_directory, remove_in, remove_out]


@pytest.mark.covers("RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removed_before_connect(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    paths = server.in_path, server.out_path
    clean(server)
    client = client_of(server)
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    assert (server.in_path, server.out_path) == paths, "which the helper was told"
    directory = os.path.dirname(server.in_path)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    await check_session(server, client)
    await server.close()
    assert not os.path.exists(directory)


@pytest.mark.covers("RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removes_while_the_server_waits(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_read(server.in_path)
    clean(server)
    client = client_of(server)
    assert await client.connect(PATIENCE)
    assert await connecting
    await check_session(server, client)
    await server.close()


@pytest.mark.covers("RDV-23", "RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removes_while_the_client_waits(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    client = client_of(server)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await until_read(server.out_path)
    clean(server)
    assert await server.connect(PATIENCE)
    assert await connecting
    await check_session(server, client)
    await server.close()


@pytest.mark.covers("RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removes_between_sessions(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    for _ in range(3):
        client = client_of(server)
        assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
        await check_session(server, client)
        clean(server)
    await server.close()


async def test_a_cleaner_ends_no_session() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    remove_directory(server)
    peer.send(frame(b"still here") + CLOSE)
    assert await server.read() == b"still here"
    assert await server.read() is None
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-25", "RDV-32")
async def test_a_peer_that_came_before_the_cleaner_is_heard() -> None:
    server = PosixNamedPipeChannel()
    assert not await server.connect(0)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_read(server.in_path)
    writer = os.open(server.in_path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, frame(b"I was here") + CLOSE)
    os.close(writer)
    remove_directory(server)
    assert await connecting
    assert await server.read() == b"I was here"
    await server.close()


async def test_a_cleaner_that_comes_while_pipes_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are made anew at the next try."""
    server = PosixNamedPipeChannel()
    real, cleaned = os.mkfifo, list[str]()

    def mkfifo_too_late(path: str, mode: int) -> None:
        if not cleaned:
            cleaned.append(path)
            remove_directory(server)
        real(path, mode)

    monkeypatch.setattr(os, "mkfifo", mkfifo_too_late)
    remove_in(server)
    client = client_of(server)
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    assert cleaned
    await check_session(server, client)
    await server.close()
