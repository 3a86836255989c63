"""Sockets that a cleaner of temporary files removes are made anew."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import BadRendezvousError, IPCChannel, make_ipc_channel_client
from other_users import STRANGER, as_user, needs_root
from raw import PATIENCE, dial, eventually, frame, meet
from unix_sockets import (
    has_session,
    leave_stale_socket,
    mode_of,
    path_of,
    remove_directory,
    remove_socket,
    serve,
)
from waiting import until_connect_waits

Clean = Callable[[IPCChannel], None]


def remove_lock(server: IPCChannel) -> None:
    path_of(server).with_name("socket.lock").unlink()


def remove_both(server: IPCChannel) -> None:
    remove_socket(server)
    remove_lock(server)


CLEANERS = [
    ("private", remove_socket),
    ("private", remove_directory),
    ("path", remove_socket),
    ("path", remove_both),
    ("path", remove_lock),
]
cleaners = pytest.mark.parametrize(("where", "clean"), CLEANERS)


def serve_at(where: str, place: Path) -> IPCChannel:
    return serve() if where == "private" else serve(path=place / "socket")


def client_of(server: IPCChannel) -> Any:
    return make_ipc_channel_client(server.out_path, server.in_path)


async def close(server: IPCChannel, where: str, place: Path) -> None:
    path = path_of(server)
    assert mode_of(path) == 0o600
    if where == "private":
        assert mode_of(path.parent) == 0o700
        assert os.listdir(path.parent) == ["socket"]
    else:
        assert sorted(os.listdir(place)) == ["socket", "socket.lock"]
    await server.close()
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-69")
@cleaners
async def test_before_connect(where: str, clean: Clean, place: Path) -> None:
    server = serve_at(where, place)
    clean(server)
    await has_session(server, client_of(server))
    await close(server, where, place)


@pytest.mark.covers("RDV-69")
@cleaners
async def test_while_connect_waits(where: str, clean: Clean, place: Path) -> None:
    before = open_descriptors()
    server = serve_at(where, place)
    held = len(open_descriptors() - before)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_connect_waits(server)
    for _ in range(3):
        clean(server)
        await eventually(lambda: len(os.listdir(place)) == (1 if where == "private" else 2))
        await eventually(path_of(server).exists)
    assert len(open_descriptors() - before) == held
    client = client_of(server)
    assert await client.connect(PATIENCE)
    assert await connecting
    await has_session(server, client)
    await close(server, where, place)


@pytest.mark.covers("RDV-69")
@cleaners
async def test_between_sessions(where: str, clean: Clean, place: Path) -> None:
    server = serve_at(where, place)
    for _ in range(3):
        await has_session(server, client_of(server))
        clean(server)
    assert not await server.connect(0)
    await close(server, where, place)


@pytest.mark.covers("RDV-69")
@cleaners
async def test_during_a_session(where: str, clean: Clean, place: Path) -> None:
    """It goes on, and once it has ended the socket is there without another connect."""
    server = serve_at(where, place)
    peer = await meet(server)
    clean(server)
    peer.send(frame(b"still here"))
    assert await server.read() == b"still here"
    peer.close()
    assert await server.read() is None
    late = await asyncio.to_thread(dial, server.in_path, server.in_path)
    late.send(frame(b"the next"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"the next"
    late.close()
    assert await server.read() is None
    await close(server, where, place)


@pytest.mark.covers("RDV-69")
@cleaners
async def test_who_was_in_the_queue_is_served(
    where: str, clean: Clean, place: Path
) -> None:
    server = serve_at(where, place)
    peers = [dial(server.in_path, server.in_path) for _ in range(2)]
    clean(server)
    peers[0].send(frame(b"waiting"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"waiting"
    for peer in peers[1:]:
        assert await asyncio.to_thread(peer.is_ended)
    for peer in peers:
        peer.close()
    assert await server.read() is None
    assert not await server.connect(0)
    await close(server, where, place)


@pytest.mark.covers("RDV-69")
async def test_who_came_in_the_very_moment_before_a_look_is_served(place: Path) -> None:
    """The loop has not seen it yet, and will get no event of the old socket."""
    server: Any = serve()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_connect_waits(server)
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"just in time"))
    remove_socket(server)
    server._listener.refresh(asyncio.get_running_loop())
    assert await connecting
    assert await server.read() == b"just in time"
    peer.close()
    await server.close()


@needs_root
@pytest.mark.covers("RDV-69", "RDV-71")
@pytest.mark.usefixtures("many_descriptors")
async def test_who_was_in_the_queue_behind_strangers_is_served(place: Path) -> None:
    server = serve(path=place / "socket", mode=0o666)
    with as_user(STRANGER):
        strangers = [dial(server.in_path, server.in_path) for _ in range(200)]
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"behind them"))
    remove_socket(server)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"behind them"
    for one in strangers:
        assert await asyncio.to_thread(one.is_ended)
        one.close()
    peer.close()
    await server.close()


def is_file(path: Path) -> None:
    path.write_text("precious")


def is_link(path: Path) -> None:
    path.symlink_to("/nowhere")


@pytest.mark.covers("RDV-69", "RDV-70")
@pytest.mark.parametrize("where", ["private", "path"])
@pytest.mark.parametrize("make", [is_file, is_link, leave_stale_socket])
@pytest.mark.parametrize("moment", ["before", "waiting"])
async def test_something_else_is_there_by_then(
    where: str, make: Any, moment: str, place: Path
) -> None:
    server = serve_at(where, place)
    path = path_of(server)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    if moment == "waiting":
        await until_connect_waits(server)
    path.unlink()
    make(path)
    with pytest.raises(BadRendezvousError, match="was replaced by another file; close"):
        await connecting
    path.unlink()
    await has_session(server, client_of(server))  # once it has gone, all is well
    await server.close()
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-69")
async def test_another_server_has_taken_the_path_by_then(place: Path) -> None:
    server = serve(path=place / "socket")
    remove_both(server)
    other = serve(path=place / "socket")
    with pytest.raises(BadRendezvousError, match="was replaced by another file"):
        await server.connect(PATIENCE)
    remove_socket(other)
    with pytest.raises(OSError, match="a process listens at") as caught:
        await server.connect(PATIENCE)
    assert caught.value.errno == errno.EADDRINUSE
    await server.close()
    await has_session(other, client_of(other))
    await other.close()
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-69")
@pytest.mark.parametrize("where", ["private", "path"])
async def test_the_directory_above_has_gone(
    where: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = place / "inner"
    inner.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(inner))
    server = serve_at(where, inner)
    shutil.rmtree(inner)
    expected = "cannot be recreated|make that directory, and let this user"
    for kind in ("missing", "a file"):
        if kind == "a file":
            inner.touch()
        with pytest.raises((BadRendezvousError, OSError), match=expected):
            await server.connect(PATIENCE)
    inner.unlink()
    inner.mkdir()
    await has_session(server, client_of(server))
    shutil.rmtree(inner)
    inner.touch()  # no file can be looked at below it
    await server.close()
    assert inner.is_file()


def test_a_loop_that_was_closed_does_not_keep_the_socket_away(place: Path) -> None:
    server = serve()

    async def look() -> None:
        assert not await server.connect(0)

    asyncio.run(look())
    remove_socket(server)
    asyncio.run(look())
    assert path_of(server).exists()
    asyncio.run(server.close())


@pytest.mark.parametrize("where", ["private", "path"])
async def test_a_flood_of_removals(where: str, place: Path) -> None:
    """With clients that come all the while: each is served, or finds the new socket."""
    server = serve_at(where, place)
    for number in range(30):
        connecting = asyncio.create_task(server.connect(PATIENCE))
        client = client_of(server)
        removing = number % 3
        if removing == 0:
            remove_socket(server)
        joining = asyncio.create_task(client.connect(PATIENCE))
        await asyncio.sleep(0)
        if removing == 1 and path_of(server).exists():
            remove_socket(server)
        assert await joining
        assert await connecting
        await client.write(b"%d" % number)
        assert await server.read() == b"%d" % number
        await client.close()
        assert await server.read() is None
    await server.close()
    assert list(place.iterdir()) == []
