"""The listening socket of a TCP server: who is let in, turned away, or kept waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from typing import Any

import pytest

from ipc_channel import (
    FrameTooLargeError,
    ResetError,
    TCPSocketChannel,
    make_ipc_channel_client,
)
from ipc_channel.peer_user import peer_user
from ipc_channel.tcp_listener import Listener
from raw import PATIENCE, Raw, dial, eventually, frame, open_descriptors


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
        patch.setattr("ipc_channel.tcp_listener.socket.socket", Refusing)
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
    await eventually(lambda: not server._session.receiver._reading)  # type: ignore[union-attr]  # looks inside
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


async def as_a_peer_is_found(server: TCPSocketChannel) -> tuple[asyncio.Task[bool], Raw]:
    """Return in the very turn in which somebody was let in, before ``connect`` knows."""
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await eventually(lambda: server._listener._loop is not None)
    opening: Any = server._opening
    peer = dial(server.in_path, server.in_path)
    while opening._fut_waiter is None or not opening._fut_waiter.done():
        await asyncio.sleep(0)
    return connecting, peer


async def cancelled_as_a_peer_was_found(server: TCPSocketChannel) -> Raw:
    connecting, peer = await as_a_peer_is_found(server)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    return peer


@pytest.mark.covers("RDV-13")
async def test_a_peer_that_comes_as_connect_gives_up_is_kept() -> None:
    """Even if it leaves before the next: let in, it takes itself for met."""
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    peer.send(frame(b"hello"))
    peer.close()
    assert await server.connect(PATIENCE)
    assert await server.read() == b"hello"
    await server.close()


async def test_who_comes_after_an_end_waits_for_the_next_connect() -> None:
    server = TCPSocketChannel(max_message_size=10)
    first = dial(server.in_path, server.in_path)
    assert await server.connect()
    first.send(b"\xff\xff\xff\xff")
    with pytest.raises(FrameTooLargeError):
        await server.read()
    second = dial(server.in_path, server.in_path)
    second.send(frame(b"second"))
    await asyncio.sleep(0.01)
    first.close()
    assert await server.connect()
    assert await server.read() == b"second"
    second.close()
    await server.close()


async def test_nobody_is_accepted_whom_nobody_could_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last descriptor is not for the peer: it would take itself for met."""

    def full(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", full)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await server.connect(PATIENCE)
    assert peer.sock
    assert peer_user(peer.sock) is None, "a peer that asks is told that nobody has it yet"
    assert await server.connect(PATIENCE)
    assert peer_user(peer.sock) == os.geteuid()
    peer.close()
    await server.close()


async def test_turning_away_rests_without_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()

    def full() -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(server._listener, "_next", full)
    late = dial(server.in_path, server.in_path)
    await eventually(lambda: server._listener._loop is None)
    late.close()
    peer.close()
    await server.close()


async def test_a_peer_that_could_not_be_asked_for_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: socket.socket) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"patient"))
    with monkeypatch.context() as patch:
        patch.setattr("ipc_channel.tcp_listener.peer_user", full)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await server.connect(PATIENCE)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"patient"
    peer.close()
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


async def test_a_kept_connection_is_closed_with_the_channel() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    await server.close()
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    assert open_descriptors() == before


async def test_a_peer_that_is_found_as_the_channel_is_closed() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    connecting, peer = await as_a_peer_is_found(server)
    await server.close()
    assert await connecting is False
    assert await asyncio.to_thread(peer.is_ended)
    assert len(open_descriptors() - before) == 1, "the peer's own"
    peer.close()


async def test_a_kept_connection_is_ended_by_disconnect() -> None:
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    await server.disconnect()
    assert await asyncio.to_thread(peer.recv_all) == []
    assert not await server.connect(0)
    peer.close()
    await server.close()


async def test_cancelled_as_the_descriptors_are_at_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = Listener(frozenset())
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(listener.accept(loop, logging.getLogger()))
    await asyncio.sleep(0)

    def full() -> socket.socket:
        loop.call_soon(accepting.cancel)  # before it hears of the error
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(listener, "_next", full)
    peer = dial(str(listener.port), str(listener.port))
    with pytest.raises(asyncio.CancelledError):
        await accepting
    peer.close()
    listener.close()


async def test_who_waits_in_the_queue_wakes_nobody_after_connect() -> None:
    listener = Listener(frozenset())
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(listener.accept(loop, logging.getLogger()))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    assert not loop.remove_reader(listener._socket.fileno())
    listener.close()


async def test_who_could_not_be_asked_for_is_closed_with_the_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: socket.socket) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("ipc_channel.tcp_listener.peer_user", full)
    server = TCPSocketChannel()
    before = open_descriptors()
    peer = dial(server.in_path, server.in_path)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        await server.connect(PATIENCE)
    assert len(open_descriptors() - before) == 2  # both ends
    await server.close()
    assert await asyncio.to_thread(peer.is_ended)
    peer.close()


async def test_no_descriptors_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    server = TCPSocketChannel()

    def full() -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(server._listener, "_next", full)
    with pytest.raises(OSError, match="Too many open files"):
        await server.connect(PATIENCE)
    await server.close()
