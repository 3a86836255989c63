"""A forked child and asyncio's own streams that its parent's channel has taken over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import raw
from descriptors import open_descriptors
from forks import (
    in_child,
    try_in_a_child,
)
from ipc_channel import (
    TCPSocketProtocol,
)
from raw import Raw


@contextlib.asynccontextmanager
async def taken_over(
    *, pending: bytes
) -> AsyncIterator[tuple[TCPSocketProtocol, Raw, int]]:
    """A protocol in the very turn in which it took over, whose streams owe ``pending``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        sock, _ = listener.accept()
    peer = Raw(sock.fileno(), sock.fileno(), sock)
    number = writer.get_extra_info("socket").fileno()
    writer.write(pending)
    protocol = TCPSocketProtocol(reader, writer)
    yield protocol, peer, number
    peer.close()
    await protocol.close()


@pytest.mark.parametrize("pending", [0, 10 * 2**20])
async def test_a_child_holds_nothing_of_streams_that_were_taken_over(pending: int) -> None:
    def sockets() -> list[str]:
        return [text for text in open_descriptors() if text.endswith(connection)]

    async with taken_over(pending=bytes(pending)) as (protocol, peer, number):
        connection = os.readlink(f"/proc/self/fd/{number}")
        assert len(sockets()) == 2, "the streams' own, and the protocol's"
        assert in_child(sockets) == []
        assert await asyncio.to_thread(lambda: len(peer.recv(pending))) == pending
        await protocol.write(b"still there")
        assert await asyncio.to_thread(peer.recv_frame) == b"still there"


async def test_a_child_leaves_a_descriptor_alone_whose_number_is_used_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    async with taken_over(pending=b"") as (_, _, number):
        original = os.readlink(f"/proc/self/fd/{number}")

        def is_closed() -> bool:
            path = f"/proc/self/fd/{number}"
            return not os.path.exists(path) or os.readlink(path) != original

        await raw.eventually(is_closed)
        opened = os.open(file, os.O_CREAT | os.O_WRONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        text = in_child(lambda: os.readlink(f"/proc/self/fd/{number}"))
        os.close(number)
        assert text == str(file)


async def test_a_child_cannot_use_a_protocol() -> None:
    async with taken_over(pending=b"") as (protocol, peer, _):
        try_in_a_child(protocol, ["read", "write"])
        await protocol.write(b"x")
        assert await asyncio.to_thread(peer.recv_frame) == b"x"
