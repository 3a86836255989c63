"""Servers over Unix sockets, their files, and processes of other users that come."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipc_channel import IPCChannel, IPCChannelClient, make_ipc_channel
from ipc_channel.conformance.raw_peer import frame
from other_users import STRANGER
from raw import PATIENCE

Remove = Callable[[IPCChannel], None]

_VISITOR = """
import os, socket, sys
user, path, count = int(sys.argv[1]), os.fsencode(sys.argv[2]), int(sys.argv[3])
if os.geteuid() != user:
    os.setgroups([])
    os.setuid(user)
visitors = [socket.socket(socket.AF_UNIX) for _ in range(count)]
for visitor in visitors:
    visitor.connect(path)
for visitor in visitors:
    try:
        visitor.sendall(bytes([0, 0, 0, 5]) + b"hello")
        print(visitor.recv(100))
    except ConnectionError as error:
        print(type(error).__name__)
"""
REFUSED = {b"b''", b"ConnectionResetError", b"BrokenPipeError"}
"""What a visitor prints that the server has turned away."""


def serve(**options: Any) -> IPCChannel:
    return make_ipc_channel(transport="unix", **options)


def path_of(server: IPCChannel) -> Path:
    return Path(server.in_path.removeprefix("unix:"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def remove_socket(server: IPCChannel) -> None:
    path_of(server).unlink()


def remove_directory(server: IPCChannel) -> None:
    shutil.rmtree(path_of(server).parent)


def leave_stale_socket(path: Path) -> os.stat_result:
    """Make what a killed server leaves."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
        stale.listen()
    return os.lstat(path)


async def visit(path: Path | str, user: int = STRANGER, count: int = 1) -> set[bytes]:
    """Return what the server answers a process of ``user`` with ``count`` connections."""
    process = await begin_visit(path, user, count)
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return set(output.splitlines())


async def begin_visit(
    path: Path | str, user: int = STRANGER, count: int = 1
) -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", _VISITOR, str(user), str(path), str(count)]
    return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)


async def serves_a_visitor(server: IPCChannel, path: Path | str, user: int) -> None:
    """Check that a process of ``user`` connects, is heard, and gets an answer."""
    visiting = asyncio.create_task(visit(path, user))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"hello"
    await server.write(b"welcome")
    assert await visiting == {repr(frame(b"welcome")).encode()}
    await server.disconnect()


async def has_session(server: IPCChannel, client: IPCChannelClient) -> None:
    """Connect both, pass a message each way, and end the session."""
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    await client.write(b"there")
    assert await server.read() == b"there"
    await server.write(b"back")
    assert await client.read() == b"back"
    await client.close()
    assert await server.read() is None
