"""The client over Unix sockets: what it refuses, what it waits for, what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from descriptors import no_descriptor_left, open_descriptors
from ipc_channel import BadRendezvousError, IPCChannelClient, make_ipc_channel_client
from odd_paths import NAMES
from other_users import STRANGER, as_user, needs_root
from raw import PATIENCE, frame
from unix_sockets import leave_stale_socket, path_of, serve
from waiting import until_connect_waits


def client_at(path: Path | str, **options: Any) -> IPCChannelClient:
    return make_ipc_channel_client(f"unix:{path}", f"unix:{path}", **options)


@contextlib.contextmanager
def listening(path: Path, backlog: int = 10) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(backlog)
        listener.settimeout(PATIENCE)
        yield listener


def is_visited(listener: socket.socket) -> bool:
    listener.setblocking(False)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def link(path: Path) -> str:
    path.rename(path.with_name("target"))
    path.symlink_to("target")
    return "it is a symbolic link"


def dangling_link(path: Path) -> str:
    path.rename(path.with_name("target"))
    path.symlink_to("nowhere")
    return "it is a symbolic link"


def file(path: Path) -> str:
    path.rename(path.with_name("target"))
    path.write_text("precious")
    return "it is not a socket"


def strangers_file(path: Path) -> str:
    os.chown(path, STRANGER, -1)
    return (
        f"the socket belongs to user {STRANGER}, not to this user .* or root; allow it with"
    )


@needs_root
@pytest.mark.covers("RDV-66")
@pytest.mark.parametrize("make", [link, dangling_link, file, strangers_file])
async def test_what_is_refused_before_anything_connects(
    make: Callable[[Path], str], place: Path
) -> None:
    before = open_descriptors()
    path = place / "socket"
    with listening(path) as listener:
        why = make(path)
        client = client_at(path)
        with pytest.raises(BadRendezvousError, match=f"^bad rendezvous '{path}': {why}"):
            await client.connect(PATIENCE)
        await client.close()
        assert not is_visited(listener)
    assert open_descriptors() == before


@needs_root
@pytest.mark.covers("RDV-65")
@pytest.mark.parametrize("allowed", [[], [STRANGER + 1], [STRANGER]])
async def test_a_server_of_another_user(allowed: list[int], place: Path) -> None:
    """Even at a file of a trusted user's: the kernel noted who called listen."""
    path = place / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with as_user(STRANGER):
            listener.listen()
        client = client_at(path, allowed_users=allowed)
        if allowed == [STRANGER]:
            assert await client.connect(PATIENCE)
            await client.write(b"trusted")
        else:
            with pytest.raises(
                BadRendezvousError, match=f"the server belongs to user {STRANGER}, not to"
            ):
                await client.connect(PATIENCE)
        peer, _ = listener.accept()
        with peer:
            await client.close()
            expected = b"\0\0\0\7trusted" + bytes(4) if allowed == [STRANGER] else b""
            assert peer.recv(100) == expected, "no byte for a server that is not trusted"


ORDINARY_CLIENT = """
import asyncio, os, sys
from ipc_channel import *
os.setgroups([])
os.setuid(int(sys.argv[1]))
async def main():
    async with make_ipc_channel_client(sys.argv[2], sys.argv[2]) as client:
        await client.write(b"I trust root")
        assert await client.read() == b"welcome"
asyncio.run(main())
"""


@needs_root
@pytest.mark.covers("RDV-65", "RDV-66")
async def test_an_ordinary_user_trusts_root(place: Path) -> None:
    server = serve(path=place / "socket", allowed_users=[STRANGER])
    command = [sys.executable, "-c", ORDINARY_CLIENT, str(STRANGER), server.in_path]
    client = await asyncio.create_subprocess_exec(*command)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"I trust root"
    await server.write(b"welcome")
    assert await server.read() is None
    assert await client.wait() == 0
    await server.close()


@needs_root
async def test_a_directory_that_lets_this_user_not_in(place: Path) -> None:
    server = serve()
    command = [sys.executable, "-c", ORDINARY_CLIENT, str(STRANGER), server.in_path]
    client = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    _, said = await client.communicate()
    expected = f"BadRendezvousError: bad rendezvous '{path_of(server)}': Permission denied"
    assert expected in said.decode()
    await server.close()


@pytest.mark.covers("RDV-66", "RDV-67")
@pytest.mark.parametrize("state", ["missing", "stale", "no directory"])
async def test_a_server_that_comes_late(state: str, place: Path) -> None:
    path = place / "directory" / "socket"
    if state != "no directory":
        path.parent.mkdir()
    if state == "stale":
        leave_stale_socket(path)
    client = client_at(path)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await until_connect_waits(client)
    await asyncio.sleep(0.02)  # several tries
    assert not connecting.done()
    path.parent.mkdir(exist_ok=True)
    server = serve(path=path)
    assert all(await asyncio.gather(connecting, server.connect(PATIENCE)))
    await client.close()
    await server.close()


@pytest.mark.parametrize("state", ["missing", "stale", "full"])
async def test_no_server_is_said(state: str, place: Path) -> None:
    path = place / "socket"
    said = {
        "missing": f"there is no '{path}'",
        "stale": f"no process listens at '{path}'",
        "full": f"the queue of '{path}' is full",
    }[state]
    with contextlib.ExitStack() as stack:
        if state == "stale":
            leave_stale_socket(path)
        elif state == "full":
            stack.enter_context(listening(path, 0))
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        client = client_at(path)
        for timeout in (0, 0.02):
            start = time.monotonic()
            assert not await client.connect(timeout)
            assert time.monotonic() - start >= timeout
            assert f"{said}; check that the service is running" in str(
                client.last_exception
            )
        await client.close()


@pytest.mark.covers("RDV-67")
async def test_a_full_queue_is_waited_for(place: Path) -> None:
    path = place / "socket"
    with listening(path, 0) as listener, socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        client = client_at(path)
        connecting = asyncio.create_task(client.connect(PATIENCE))
        await until_connect_waits(client)
        assert not connecting.done()
        listener.accept()[0].close()
        assert await connecting
        await client.close()


@pytest.mark.covers("RDV-10")
@pytest.mark.parametrize("state", ["missing", "full"])
async def test_a_cancelled_connect_leaves_nothing(state: str, place: Path) -> None:
    path = place / "socket"
    with contextlib.ExitStack() as stack:
        if state == "full":
            stack.enter_context(listening(path, 0))
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        before = open_descriptors()
        client = client_at(path)
        connecting = asyncio.create_task(client.connect(PATIENCE))
        await until_connect_waits(client)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert open_descriptors() == before
        await client.close()


@pytest.mark.covers("RDV-36")
@pytest.mark.parametrize("name", NAMES)
async def test_the_very_bytes_are_opened(name: str, place: Path) -> None:
    path = os.path.join(os.fsencode(place), NAMES[name])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        client = client_at(os.fsdecode(path))
        assert await client.connect(0)
        await client.close()


async def test_no_descriptor_is_free(place: Path) -> None:
    with listening(place / "socket"):
        client = client_at(place / "socket")
        with no_descriptor_left(), pytest.raises(OSError, match="Too many open") as caught:
            await client.connect(PATIENCE)
        assert caught.value.errno == errno.EMFILE
        assert await client.connect(0)
        await client.close()


@pytest.mark.covers("RDV-11", "RDV-14")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOBUFS])
async def test_other_errors(
    code: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that no rule names may pass; the timeout says what it was."""
    monkeypatch.setattr("socket.socket.connect_ex", lambda *_: code)
    with listening(place / "socket"):
        client = client_at(place / "socket")
        if code == errno.EIO:
            assert not await client.connect(0.02)
            said = str(client.last_exception)
            assert f"socket' failed: {os.strerror(code)}; check that the service" in said
        else:
            with pytest.raises(OSError, match=os.strerror(code)):
                await client.connect(PATIENCE)
        await client.close()


async def test_a_datagram_socket_can_never_work(place: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(place / "socket"))
        client = client_at(place / "socket")
        with pytest.raises(BadRendezvousError, match="wrong type"):
            await client.connect(PATIENCE)
        await client.close()


async def test_the_server_speaks_at_once_and_leaves(place: Path) -> None:
    with listening(place / "socket") as listener:
        client = client_at(place / "socket")
        assert await client.connect(PATIENCE)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(frame(b"hello") + bytes(4))
        assert await client.read() == b"hello"
        assert await client.read() is None
        assert client.end_reason == "clean"
        await client.close()
