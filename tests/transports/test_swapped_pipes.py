"""A client that was given the server's strings as they are, not crossed."""

from __future__ import annotations

import asyncio
import fcntl
import os

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    BadRendezvousError,
    ConnectTimeoutError,
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
    PosixNamedPipeProtocol,
    make_ipc_channel_client,
)
from raw import PATIENCE, eventually


def has_reader(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.covers("RDV-34", "RDV-35")
@pytest.mark.parametrize(
    "make",
    [make_ipc_channel_client, PosixNamedPipeChannelClient, PosixNamedPipeProtocol],
)
@pytest.mark.parametrize("first", ["server", "client"])
async def test_it_is_told_at_once(make: type[PosixNamedPipeProtocol], first: str) -> None:
    server = PosixNamedPipeChannel()
    before = open_descriptors()
    client = make(server.in_path, server.out_path)
    if first == "client":
        meeting = asyncio.create_task(client.connect(PATIENCE))
        await eventually(lambda: has_reader(server.in_path))
        connecting = asyncio.create_task(server.connect(PATIENCE))
    else:
        connecting = asyncio.create_task(server.connect(PATIENCE))
        await eventually(lambda: has_reader(server.in_path))
        meeting = asyncio.create_task(client.connect(PATIENCE))
    with pytest.raises(BadRendezvousError, match="in and out are swapped") as caught:
        await asyncio.wait_for(meeting, PATIENCE / 2)
    assert server.in_path in str(caught.value)
    assert "pass the server's out_path as in_path, and its in_path as" in str(caught.value)
    assert len(open_descriptors() - before) == 1, "the server's own"
    assert not connecting.done()
    right = make(server.out_path, server.in_path)
    assert await right.connect(PATIENCE)
    assert await connecting, "the server was not disturbed"
    await right.write(b"there")
    assert await server.read() == b"there"
    for channel in (client, right, server):
        await channel.close()


@pytest.mark.covers("RDV-34")
async def test_the_server_locks_what_it_reads_in_each_session() -> None:
    server = PosixNamedPipeChannel()
    for _ in range(2):
        held = os.open(server.in_path, os.O_RDONLY | os.O_NONBLOCK)
        client = make_ipc_channel_client(server.out_path, server.in_path)
        assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        await client.close()
        assert await server.read() is None
        await server.disconnect()
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(held)
    await server.close()


@pytest.mark.covers("RDV-35")
async def test_other_clients_and_locks_of_readers_are_no_server(
    paths: tuple[str, str],
) -> None:
    """Two clients that wait for one server read the same pipe, and may both be right."""
    one, other = (PosixNamedPipeChannelClient(*paths) for _ in range(2))
    reader = os.open(paths[0], os.O_RDONLY | os.O_NONBLOCK)
    fcntl.flock(reader, fcntl.LOCK_SH)
    assert not any(await asyncio.gather(one.connect(0.1), other.connect(0.1)))
    error = one.last_exception
    assert isinstance(error, ConnectTimeoutError)
    assert str(error).endswith(
        f"no process has '{paths[1]}' open for reading; check that the server is running,"
        " and that in and out are not swapped: in_path is the server's out_path, and"
        " out_path is its in_path"
    )
    os.close(reader)
    await one.close()
    await other.close()


async def test_a_server_whose_client_does_not_come_says_what_it_waits_for() -> None:
    server = PosixNamedPipeChannel()
    assert not await server.connect(0)
    assert (
        f"no process has '{server.out_path}' open for reading; check that the client is"
        " running, and that its in_path is this path" in str(server.last_exception)
    )
    await server.close()
