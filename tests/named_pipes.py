"""Channels over named pipes: a session each way, and what happens to their files."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from ipc_channel import (
    IPCChannelClient,
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
)
from raw import eventually


def has_writer(fd: int) -> bool:
    """Whether a process has the pipe ``fd`` open for writing."""
    try:
        return os.read(fd, 1) != b""
    except BlockingIOError:
        return True


def remove_directory(server: PosixNamedPipeChannel) -> None:
    shutil.rmtree(os.path.dirname(server.in_path))


def client_of(server: PosixNamedPipeChannel) -> PosixNamedPipeChannelClient:
    return PosixNamedPipeChannelClient(server.out_path, server.in_path)


async def check_session(server: PosixNamedPipeChannel, client: IPCChannelClient) -> None:
    """Pass a message each way, and end the session from the client's side."""
    await client.write(b"there")
    assert await server.read() == b"there"
    await server.write(b"back")
    assert await client.read() == b"back"
    await client.close()
    assert await server.read() is None


async def until_read(path: str) -> None:
    """Wait until a process has opened the pipe at ``path`` for reading."""

    def is_read() -> bool:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            assert error.errno in (errno.ENXIO, errno.ENOENT)
            return False
        return True

    await eventually(is_read)


def a_file(path: str) -> None:
    Path(path).write_text("precious")
