"""Every public constructor under every umask, in a process of an ordinary user."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raw import PATIENCE

USER = 12345
"""Stands in for root, which may do what the modes of files forbid."""
UMASKS = [0o000, 0o022, 0o077, 0o177, 0o477, 0o777]

PROGRAM = """
import asyncio, concurrent.futures, logging, os, stat, sys, tempfile
import ipc_channel
from ipc_channel import *
import asyncio.selector_events, encodings.idna, multiprocessing.connection

logging.getLogger("asyncio").setLevel(logging.ERROR)  # a slow machine is no fault

async def meet(server, client):
    assert all(await asyncio.gather(server.connect(60), client.connect(60)))
    await client.write(b"there")
    assert await server.read() == b"there"
    await server.write(b"back")
    assert await client.read() == b"back"
    await client.close()
    assert await server.read() is None

def check_modes(server):
    if server.in_path.startswith("/"):
        for path, mode in (
            (os.path.dirname(server.in_path), 0o700),
            (server.in_path, 0o600),
            (server.out_path, 0o600),
        ):
            assert stat.S_IMODE(os.lstat(path).st_mode) == mode, oct(os.lstat(path).st_mode)
    if server.in_path.startswith("unix:"):
        path = server.in_path[5:]
        assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
        if os.path.lexists(path + ".lock"):
            assert stat.S_IMODE(os.lstat(path + ".lock").st_mode) == 0o600
        else:
            assert stat.S_IMODE(os.lstat(os.path.dirname(path)).st_mode) == 0o700

async def serve(make, make_client):
    server = make()
    check_modes(server)
    for _ in range(2):  # the pipes of the second session are others
        await meet(server, make_client(server.out_path, server.in_path))
        check_modes(server)
    await server.close()
    try:
        make(max_message_size=0)
    except ValueError:
        pass
    else:
        raise AssertionError("it was to be refused")

async def protocol(make):
    server = make_ipc_channel()
    check_modes(server)
    await meet(server, make(server.out_path, server.in_path))
    await server.close()

async def over_streams():
    accepted = asyncio.get_running_loop().create_future()
    listener = await asyncio.start_server(lambda *pair: accepted.set_result(pair), "127.0.0.1")
    host, port = listener.sockets[0].getsockname()
    ends = await asyncio.open_connection(host, port), await accepted
    one, other = (TCPSocketProtocol(*pair) for pair in ends)
    await one.write(b"x")
    assert await other.read() == b"x"
    await one.close()
    await other.close()
    listener.close()

async def helper():
    echo = 'exec 3<"$IPC_CHANNEL_IN" 4>"$IPC_CHANNEL_OUT"; exec cat <&3 >&4'
    # Without check: what comes last, the close frame, may find no reader any more.
    async with Helper(["/bin/sh", "-c", echo], make_ipc_channel(), check=False) as channel:
        await channel.write(b"x")
        assert await channel.read() == b"x"

CASES = {
    "make_ipc_channel": lambda: serve(make_ipc_channel, make_ipc_channel_client),
    "make_ipc_channel, tcp": lambda: serve(
        lambda **options: make_ipc_channel(transport="tcp", **options),
        make_ipc_channel_client,
    ),
    "make_ipc_channel, path": lambda: serve(
        lambda **options: make_ipc_channel(
            transport="unix", path=f"{directory}/socket", **options
        ),
        make_ipc_channel_client,
    ),
    "UnixSocketChannel": lambda: serve(UnixSocketChannel, UnixSocketChannelClient),
    "PosixNamedPipeChannel": lambda: serve(
        PosixNamedPipeChannel, PosixNamedPipeChannelClient
    ),
    "PosixNamedPipeProtocol": lambda: protocol(PosixNamedPipeProtocol),
    "TCPSocketChannel": lambda: serve(TCPSocketChannel, TCPSocketChannelClient),
    "TCPSocketProtocol": over_streams,
    "Helper": helper,
}

user, mask, directory, case = sys.argv[1:]
tempfile.tempdir = directory
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
os.umask(int(mask, 8))
os.chdir("/")
asyncio.run(CASES[case]())
assert os.listdir(directory) == [], os.listdir(directory)
"""
CASES = [
    "make_ipc_channel",
    "make_ipc_channel, tcp",
    "make_ipc_channel, path",
    "UnixSocketChannel",
    "PosixNamedPipeChannel",
    "PosixNamedPipeProtocol",
    "TCPSocketChannel",
    "TCPSocketProtocol",
    "Helper",
]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of the ordinary user, below one that every user may search."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
    yield path
    for one in (path, *path.iterdir()):
        one.chmod(stat.S_IRWXU)
    shutil.rmtree(path)


@pytest.mark.covers("RDV-20", "RDV-61")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mask", UMASKS, ids="{:04o}".format)
def test_constructors(case: str, mask: int, directory: Path) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM]
    done = subprocess.run(
        [*command, str(USER), f"{mask:o}", directory, case],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with contextlib.suppress(FileNotFoundError):
        assert list(directory.iterdir()) == []
