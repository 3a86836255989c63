"""Resets: where they are noticed, and what close does to cause none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import pytest

from descriptors import no_descriptor_left
from ipc_channel import (
    ChannelClosedError,
    ResetError,
    TCPSocketChannel,
    TCPSocketChannelClient,
)
from ipc_channel.transports.socket_stream import is_writable
from ipc_channel.transports.tcp_listener import reset
from raw import PATIENCE, dial, eventually, frame
from waiting import until_blocked


@pytest.mark.covers("SES-3")
async def test_a_reset_noticed_by_a_write_is_a_reset() -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    receiver = server.session.receiver  # type: ignore[union-attr]  # looks inside
    peer.send(frame(b"x" * 500_000))
    await eventually(lambda: not receiver.reading)
    peer.reset()
    with pytest.raises(ConnectionError):
        while True:
            await server.write(b"y")
            await asyncio.sleep(0)
    assert await server.read() == b"x" * 500_000
    with pytest.raises(ResetError):
        await server.read()
    assert server.end_reason == "reset"
    await server.close()


@pytest.mark.covers("SES-60")
async def test_a_peer_that_goes_on_talking_is_not_reset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ipc_channel.aio.session.QUIET", 2.0)
    server = TCPSocketChannel(linger=PATIENCE)
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    await server.write(b"last")
    closing = asyncio.create_task(server.close())

    def talk() -> None:
        for _ in range(25):
            peer.send(frame(b"still talking"))
            time.sleep(0.01)  # longer in all than a silent peer is waited for

    await asyncio.to_thread(talk)
    assert await asyncio.to_thread(peer.recv_all) == [b"last"]
    peer.close()
    await closing


@pytest.mark.covers("RDV-49")
@pytest.mark.parametrize("sent", [b"", frame(b"before the reset")], ids=["nothing", "data"])
@pytest.mark.parametrize("moment", ["connecting", "connected"])
async def test_a_reset_on_the_way_is_the_end_of_a_session(
    sent: bytes, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts, writes and resets between two of our system calls."""

    def accept_and_reset() -> None:
        sock, _ = listener.accept()
        sock.sendall(sent)
        reset(sock)

    def late_look(self: socket.socket) -> Any:
        if self is not listener:
            accept_and_reset()
        return real_name(self)

    def early_look(sock: socket.socket) -> bool:
        accept_and_reset()
        return is_writable(sock)

    real_name = socket.socket.getsockname
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        client = TCPSocketChannelClient(port, port)
        with monkeypatch.context() as patch:
            if moment == "connecting":
                patch.setattr("ipc_channel.transports.tcp_socket.is_writable", early_look)
            else:
                patch.setattr(socket.socket, "getsockname", late_look)
            assert await client.connect(PATIENCE)
        if sent:
            assert await client.read() == b"before the reset"
        with pytest.raises(ResetError):
            await client.read()
        assert client.end_reason == "reset"
        await client.close()


async def test_close_without_a_descriptor_loses_nothing() -> None:
    """What a client lingers for needs no descriptor of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        client = TCPSocketChannelClient(port, port, linger=PATIENCE)
        connecting = asyncio.create_task(client.connect(PATIENCE))
        sock, _ = await asyncio.to_thread(listener.accept)
        assert await connecting
        writing = asyncio.create_task(client.write(b"x" * 3_000_000))
        await asyncio.sleep(0)
        # Started now: a thread would need descriptors as well.
        received = asyncio.create_task(asyncio.to_thread(receive_all, sock))
        with no_descriptor_left():
            await client.close()
        with contextlib.suppress(ChannelClosedError):
            await writing
        assert await received == 3_000_000 + 8


def receive_all(sock: socket.socket) -> int:
    """Return how many bytes come until the end of the stream."""
    count = 0
    with sock:
        while data := sock.recv(2**16):
            count += len(data)
    return count


async def test_a_reset_while_a_write_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop then gives up the descriptor, and watching it anew is of no use."""
    monkeypatch.setattr("ipc_channel.aio.receiver._READS", 2)
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    writing = asyncio.create_task(server.write(bytes(20 * 2**20)))
    await until_blocked(server)
    peer.send(frame(bytes(200_000)))
    peer.reset()
    with contextlib.suppress(ResetError):  # if the system throws away what was not read
        await asyncio.wait_for(server.read(), PATIENCE)
    with pytest.raises(ResetError):
        await asyncio.wait_for(server.read(), PATIENCE)
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(writing, PATIENCE)
    assert server.end_reason == "reset"
    await server.close()


@pytest.mark.parametrize("reads", [2, 16])
async def test_a_reset_behind_much_data(
    reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop tells of a reset once, however much there is to read before it."""
    monkeypatch.setattr("ipc_channel.aio.receiver._READS", reads)
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    peer.send(frame(bytes(200_000)))  # which takes more than two reads
    peer.reset()
    try:
        await asyncio.wait_for(server.read(), PATIENCE / 10)
        with pytest.raises(ResetError):
            await asyncio.wait_for(server.read(), PATIENCE / 10)
    except ResetError:
        pass  # the system may throw away what was not read
    await server.close()
