"""The server over Unix sockets: one peer at a time, and what comes beside and after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from forks import held_by_a_child, in_child, try_in_a_child
from ipc_channel import make_ipc_channel_client
from other_users import STRANGER, needs_root
from raw import CLOSE, PATIENCE, dial, frame
from unix_sockets import REFUSED, has_session, path_of, serve, visit
from waiting import until_connect_waits


@pytest.mark.covers("RDV-62")
async def test_two_clients_one_is_served() -> None:
    server = serve()
    peers = [dial(server.in_path, server.in_path) for _ in range(5)]
    assert await server.connect()
    for number, peer in enumerate(peers):
        with contextlib.suppress(ConnectionError):
            peer.send(frame(b"%d" % number))
    assert await server.read() == b"0"
    for peer in peers[1:]:
        assert await asyncio.to_thread(peer.is_ended)
    await server.write(b"you are it")
    assert await asyncio.to_thread(peers[0].recv_frame) == b"you are it"
    for peer in peers:
        peer.close()
    await server.close()


@pytest.mark.covers("RDV-63")
@pytest.mark.parametrize("silent", [True, False])
async def test_who_comes_late_notices_at_once(silent: bool) -> None:
    server = serve()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    for _ in range(40):
        late = dial(server.in_path, server.in_path)
        if not silent:
            with contextlib.suppress(ConnectionError):
                late.send(frame(b"hello"))
        assert await asyncio.to_thread(late.is_ended)
        late.close()
    peer.send(frame(b"undisturbed"))
    assert await server.read() == b"undisturbed"
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-63")
async def test_a_client_that_comes_late_is_told_so() -> None:
    server = serve()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    late = make_ipc_channel_client(server.out_path, server.in_path)
    assert await late.connect(PATIENCE)
    assert await late.read() is None
    assert late.end_reason == "eof"
    await late.close()
    peer.close()
    await server.close()


@needs_root
@pytest.mark.covers("RDV-63")
async def test_a_stranger_that_comes_late_notices_too(place: Path) -> None:
    server = serve(path=place / "socket", mode=0o666)
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    assert await visit(path_of(server)) <= REFUSED
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-64")
async def test_who_has_sent_and_left_before_connect_is_heard() -> None:
    server = serve()
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"and away") + CLOSE)
    peer.close()
    assert await server.connect(0)
    assert await server.read() == b"and away"
    assert await server.read() is None
    assert server.end_reason == "clean"
    await server.close()


@pytest.mark.covers("RDV-13")
async def test_a_peer_that_comes_as_connect_gives_up_is_kept() -> None:
    server: Any = serve()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_connect_waits(server)
    opening = server._connecting
    peer = dial(server.in_path, server.in_path)
    while opening._fut_waiter is None or not opening._fut_waiter.done():
        await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    peer.send(frame(b"hello"))
    peer.close()
    assert await server.connect(PATIENCE)
    assert await server.read() == b"hello"
    await server.close()


async def test_closing_turns_away_who_waits() -> None:
    server = serve()
    waiting = [dial(server.in_path, server.in_path) for _ in range(3)]
    await server.close()
    for peer in waiting:
        assert await asyncio.to_thread(peer.is_ended)
        peer.close()


@pytest.mark.parametrize("where", ["private", "path"])
async def test_many_channels_leave_no_descriptor(where: str, place: Path) -> None:
    options: Any = {} if where == "private" else {"path": place / "socket"}
    before = open_descriptors()
    for number in range(200):
        server = serve(**options)
        if number % 20 == 0:
            await has_session(
                server, make_ipc_channel_client(server.out_path, server.in_path)
            )
        elif number % 20 == 1:
            assert not await server.connect(0)
        await server.close()
        await server.close()
    assert open_descriptors() == before
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("where", ["private", "path"])
@pytest.mark.parametrize("connected", [False, True])
async def test_a_child_holds_nothing(where: str, connected: bool, place: Path) -> None:
    before = open_descriptors()
    options: Any = {} if where == "private" else {"path": place / "socket"}
    server: Any = serve(**options)
    peer = None
    if connected:
        peer = dial(server.in_path, server.in_path)
        assert await server.connect(PATIENCE)
    ours = {os.readlink(f"/proc/self/fd/{peer.in_fd}")} if peer else set()
    held = [text for text in held_by_a_child(before) if text.split()[-1] not in ours]
    assert held == []
    try_in_a_child(server)
    there = sorted(str(one) for one in place.rglob("*"))
    in_child(server.__del__)
    assert sorted(str(one) for one in place.rglob("*")) == there
    if peer is not None:
        peer.close()
    await server.close()
    assert list(place.iterdir()) == []


def test_the_end_of_a_child_removes_nothing(place: Path) -> None:
    """Not even by the finalizers that run as its interpreter exits."""
    servers = [serve(), serve(path=place / "socket")]

    def work() -> None:
        for server in servers:
            server._listener.place.remove()  # type: ignore[attr-defined]  # looks inside

    there = sorted(str(one) for one in place.rglob("*"))
    in_child(work)
    assert sorted(str(one) for one in place.rglob("*")) == there
    for server in servers:
        asyncio.run(server.close())
    assert list(place.iterdir()) == []


WITH_A_WORKER = """
import os, signal, sys
from ipc_channel import make_ipc_channel
channel = make_ipc_channel(transport="unix", path=sys.argv[1])
reader, ready = os.pipe()
if os.fork() == 0:
    os.write(ready, b"x")
    os.read(int(sys.argv[2]), 1)  # until the test closes the other end
    os._exit(0)
os.read(reader, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_servers_lock_is_free_though_a_worker_lives(place: Path) -> None:
    lifeline, end = os.pipe()
    command = [sys.executable, "-c", WITH_A_WORKER, f"{place}/socket", str(lifeline)]
    killed = subprocess.run(command, pass_fds=[lifeline], check=False)
    assert killed.returncode == -signal.SIGKILL
    asyncio.run(serve(path=place / "socket").close())
    assert list(place.iterdir()) == []
    os.close(end)
    os.close(lifeline)


async def test_dropped_without_close(place: Path) -> None:
    server = serve(path=place / "socket", allowed_users=[STRANGER])
    with pytest.warns(ResourceWarning, match="unclosed <UnixSocketChannel path="):
        del server
    assert list(place.iterdir()) == []


async def test_the_kernel_holds_more_than_usual_for_a_peer() -> None:
    server: Any = serve()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect(PATIENCE)
    assert peer.sock
    usual = peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    ours = server.session.stream._socket
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > usual
    peer.close()
    await server.close()
