"""The listening socket of a TCP server: its port, the peers it accepts, and late ones."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    ResetError,
    TCPSocketChannel,
    make_ipc_channel_client,
)
from ipc_channel.transports.tcp_listener import TCPListener as Listener
from raw import PATIENCE, dial, eventually, frame


@pytest.mark.covers("RDV-40")
async def test_the_port_is_held_from_construction() -> None:
    server = TCPSocketChannel()
    assert server.in_path == server.out_path
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError):
            thief.bind(("127.0.0.1", int(server.in_path)))
            thief.listen()
    await server.close()
    with pytest.raises(ConnectionRefusedError):
        dial(server.in_path, server.in_path)


def test_a_port_that_cannot_be_had_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def listen(self, backlog: int = 0, /) -> None:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr("ipc_channel.transports.tcp_listener.socket.socket", Refusing)
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)) as caught:
            TCPSocketChannel()
    assert open_descriptors() == before, caught  # which holds on to all variables


@pytest.mark.covers("RDV-40", "RDV-46")
async def test_loopback_only() -> None:
    server = TCPSocketChannel()
    listening = server._listener._socket
    assert listening.getsockname()[0] == "127.0.0.1"
    assert not listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    await server.close()


@pytest.mark.covers("RDV-41")
async def test_two_clients_one_is_served() -> None:
    server = TCPSocketChannel()
    peers = [dial(server.in_path, server.in_path) for _ in range(5)]
    assert await server.connect()
    for number, peer in enumerate(peers):
        with contextlib.suppress(ConnectionError):
            peer.send(frame(b"%d" % number))
    served = await server.read()
    assert served == b"0"
    for peer in peers[1:]:
        assert await asyncio.to_thread(peer.is_ended)
    await server.write(b"you are it")
    assert await asyncio.to_thread(peers[0].recv_frame) == b"you are it"
    late = dial(server.in_path, server.in_path)
    assert await asyncio.to_thread(late.is_ended)
    for peer in [*peers, late]:
        peer.close()
    await server.close()


async def test_a_restarted_peer_is_not_turned_away() -> None:
    """It comes before we have noticed that its predecessor has gone."""
    server = TCPSocketChannel()
    first = dial(server.in_path, server.in_path)
    assert await server.connect()
    first.send(frame(b"x" * 500_000))  # more than is read ahead: its end is not seen
    await eventually(lambda: not server.session.receiver.reading)  # type: ignore[union-attr]  # looks inside
    first.close()
    second = dial(server.in_path, server.in_path)
    second.send(frame(b"second"))
    await eventually(lambda: server._listener._loop is None)  # it is not watched for ever
    assert await server.read() == b"x" * 500_000
    assert await server.read() is None
    assert await server.connect()
    assert await server.read() == b"second"
    second.close()
    await server.close()


@pytest.mark.covers("RDV-47")
async def test_who_comes_late_is_reset() -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    late = dial(server.in_path, server.in_path)
    with pytest.raises(ConnectionResetError):  # not an end of stream, which looks orderly
        await asyncio.to_thread(late.recv, 1)
    late.close()
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-49")
async def test_a_client_that_comes_late_is_told_so() -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    late = make_ipc_channel_client(server.out_path, server.in_path)
    assert await late.connect(PATIENCE)
    with pytest.raises(ResetError):
        await late.read()
    assert late.end_reason == "reset"
    await late.close()
    peer.close()
    await server.close()


async def test_a_closed_listener_is_not_watched() -> None:
    listener = Listener(frozenset(), logging.getLogger())
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(listener.accept(loop))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    fd = listener._socket.fileno()
    listener.close()
    assert not loop.remove_reader(fd)
    listener.admit(loop)
    assert not loop.remove_reader(fd)


async def test_an_abort_leaves_a_connect_that_waits_alone() -> None:
    server = TCPSocketChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await eventually(lambda: server._listener._loop is not None)
    server.abort()
    peer = dial(server.in_path, server.in_path)
    assert await connecting
    peer.close()
    await server.close()
