"""A TCP server without free descriptors: which peers wait, and what it reports."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from typing import Any

import pytest

from descriptors import no_descriptor_left, open_descriptors
from ipc_channel import (
    TCPSocketChannel,
)
from ipc_channel.transports.peer_user import OwnerQuery, peer_user
from ipc_channel.transports.tcp_listener import TCPListener as Listener
from raw import PATIENCE, dial, eventually, frame


def full(*_: object) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_nobody_is_accepted_whom_nobody_could_ask() -> None:
    """The last descriptor is not for the peer: it would take itself for met."""
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    with no_descriptor_left(but=1), pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        await server.connect(PATIENCE)
    assert peer.sock
    assert peer_user(peer.sock) is None, (
        "a peer that asks learns that no process has accepted it"
    )
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
    monkeypatch.setattr(server._listener, "_accept_some", full)
    late = dial(server.in_path, server.in_path)
    await eventually(lambda: server._listener._loop is None)
    late.close()
    peer.close()
    await server.close()


async def test_a_peer_that_could_not_be_asked_for_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"patient"))
    with monkeypatch.context() as patch:
        patch.setattr(OwnerQuery, "owners", full)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await server.connect(PATIENCE)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"patient"
    peer.close()
    await server.close()


async def test_cancelled_as_the_descriptors_are_at_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = Listener(frozenset(), logging.getLogger())
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(listener.accept(loop))
    await asyncio.sleep(0)

    def full_and_cancelled() -> list[socket.socket]:
        loop.call_soon(accepting.cancel)  # before it hears of the error
        return full()  # type: ignore[no-any-return]

    monkeypatch.setattr(listener, "_accept_some", full_and_cancelled)
    peer = dial(str(listener.port), str(listener.port))
    with pytest.raises(asyncio.CancelledError):
        await accepting
    peer.close()
    listener.close()


async def test_who_could_not_be_asked_for_is_closed_with_the_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OwnerQuery, "owners", full)
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
    monkeypatch.setattr(server._listener, "_accept_some", full)
    with pytest.raises(OSError, match="Too many open files"):
        await server.connect(PATIENCE)
    await server.close()


async def test_turning_away_goes_on_once_there_are_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    with monkeypatch.context() as patch:
        patch.setattr(server._listener, "_accept_some", full)
        late = dial(server.in_path, server.in_path)
        await eventually(lambda: server._listener._loop is None)
    assert await asyncio.to_thread(late.is_ended)
    late.close()
    peer.close()
    await server.close()
