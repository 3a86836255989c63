"""A forked child holds nothing of its parent's channels."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import raw
from descriptors import open_descriptors
from forks import (
    held_by_a_child,
    in_a_thread,
    in_child,
    is_lock_free,
    works,
)
from ipc_channel import (
    fork,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import PATIENCE, Raw
from waiting import until_connect_waits


async def test_a_child_holds_nothing_of_a_session(
    transport: str, role: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(int)  # so that what the loop opens for threads is there
    before = open_descriptors()
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        theirs = {f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}" for fd in fds_of(peer)}
        listening = {text for text in open_descriptors() if is_raw_listener(text, role)}
        assert held_by_a_child(before | theirs | listening) == []
        await works(ours, peer)


def fds_of(peer: Raw) -> set[int]:
    return {peer.in_fd, peer.out_fd}


def is_raw_listener(text: str, role: str) -> bool:
    """Whether a descriptor is the listening socket of a raw server."""
    if role == "server" or " socket:" not in text:
        return False
    with socket.socket(fileno=os.dup(int(text.split(maxsplit=1)[0]))) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


async def test_a_child_holds_nothing_of_a_connect_that_waits(
    transport: str, role: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(int)
    before = open_descriptors()
    ours = raw.make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE))
    await until_connect_waits(ours)
    assert held_by_a_child(before) == []
    connecting.cancel()
    await asyncio.wait({connecting})
    await ours.close()


async def test_a_child_holds_nothing_of_pipes_that_are_half_open(tmp_path: Path) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await raw.eventually(lambda: any(server.in_path in text for text in open_descriptors()))
    assert held_by_a_child(before) == []
    peer = await asyncio.to_thread(raw.dial, server.out_path, server.in_path)
    assert await connecting, "the parent's connect goes on"
    await works(server, peer)
    peer.close()
    await server.close()


async def test_a_child_holds_no_socket_that_is_connecting() -> None:
    """The queue of the other end is full, so that it stays so."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]
        for sock in queued:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        before = open_descriptors()
        client = make_ipc_channel_client(str(port), str(port))
        connecting = asyncio.create_task(client.connect(PATIENCE))
        await raw.eventually(lambda: bool(open_descriptors() - before))
        assert held_by_a_child(before) == []
        assert not connecting.done()
        connecting.cancel()
        await asyncio.wait({connecting})
        await client.close()
        for sock in queued:
            sock.close()


class Held:
    """A descriptor that forked children are to close."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("held")
        fork.in_child(self, lambda held: os.close(held.fd))

    def is_open(self) -> bool:
        try:
            os.fstat(self.fd)
        except OSError:
            return False
        return True


def refuse(error: type[BaseException]) -> None:
    raise error


@pytest.mark.parametrize("error", [AttributeError, KeyboardInterrupt])
def test_one_that_cannot_be_let_go_keeps_no_other_open(error: type[BaseException]) -> None:
    all_held = [Held(), Held(), Held()]
    fork.in_child(all_held[1], lambda _: refuse(error))
    closed = in_child(lambda: [not held.is_open() for held in all_held])
    assert closed == [True, False, True]
    assert in_child(lambda: in_child(lambda: in_a_thread(is_lock_free)))
    for held in all_held:
        os.close(held.fd)


def test_a_grandchild_keeps_what_the_child_has_opened() -> None:
    """It has a number that was its grandparent's."""
    held = Held()

    def child() -> bool:
        assert not held.is_open()
        os.dup2(0, held.fd)
        return bool(in_child(held.is_open))

    assert in_child(child)
    os.close(held.fd)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_fork_at_any_moment_leaves_a_child_with_nothing(transport: str) -> None:
    """Another thread forks while channels come and go; each child looks at what it has."""
    await asyncio.to_thread(int)
    before = open_descriptors()
    found: list[list[str]] = []
    stop = threading.Event()

    def fork_on_and_on() -> None:
        while not stop.is_set() and len(found) < 100:
            found.append(held_by_a_child(before))
        stop.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=fork_on_and_on)
    thread.start()
    try:
        while not stop.is_set():
            await meet_and_part(transport)
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        await asyncio.to_thread(thread.join)
    # Directories keep no peer: they are open for a moment while one is made or removed.
    names = [text for held in found for text in held]
    kept = [text for text in names if " socket:" in text or text.endswith(("/in", "/out"))]
    assert kept == []


async def meet_and_part(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    client = make_ipc_channel_client(server.out_path, server.in_path)
    await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE))
    await client.close()
    await server.close()


async def test_a_program_that_is_started_inherits_nothing(
    transport: Any, role: str, tmp_path: Path
) -> None:
    """Every descriptor is close-on-exec, also that of a connect which waits."""
    before = open_descriptors()
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        waiting = make_ipc_channel(transport=transport)
        connecting = asyncio.create_task(waiting.connect(PATIENCE))
        await until_connect_waits(waiting)
        theirs = fds_of(peer)
        mine = [int(text.split(maxsplit=1)[0]) for text in open_descriptors() - before]
        assert len(mine) > len(theirs)
        assert [fd for fd in mine if os.get_inheritable(fd)] == []
        await works(ours, peer)
        connecting.cancel()
        await asyncio.wait({connecting})
        await waiting.close()


async def test_after_a_close_over_tcp_a_copy_keeps_neither_port_nor_peer() -> None:
    """As a child holds that a C extension has forked, behind the hooks of Python."""
    before = open_descriptors()
    server = make_ipc_channel(transport="tcp")
    peer = await raw.meet(server)
    mine = [int(text.split(maxsplit=1)[0]) for text in open_descriptors() - before]
    copies = [os.dup(fd) for fd in mine if fd not in fds_of(peer)]
    closing = asyncio.create_task(server.close())
    assert await asyncio.to_thread(peer.recv_all) == []
    await closing
    with pytest.raises(ConnectionRefusedError):
        raw.dial(server.out_path, server.in_path)
    with pytest.raises(ConnectionError):
        await asyncio.to_thread(peer.send, bytes(1000 * 65536))
    peer.close()
    for fd in copies:
        os.close(fd)
