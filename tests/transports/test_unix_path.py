"""A server at a path of the application's choice: what it takes over, and what it leaves."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from descriptors import no_descriptor_left, open_descriptors
from ipc_channel import BadRendezvousError, make_ipc_channel_client
from ipc_channel.transports.unix_place import remove_stale_socket
from other_users import STRANGER, needs_root
from raw import PATIENCE
from unix_sockets import has_session, leave_stale_socket, mode_of, serve

UMASKS = [0o000, 0o022, 0o077, 0o177, 0o477, 0o777]


def is_file(path: Path) -> None:
    path.write_text("precious")


def is_link(path: Path) -> None:
    target = path.with_name("target")
    leave_stale_socket(target)
    path.symlink_to(target)


def is_directory(path: Path) -> None:
    path.mkdir()


def is_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.covers("RDV-61", "RDV-70")
@pytest.mark.parametrize("mask", UMASKS, ids="{:04o}".format)
@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, 0o600),
        ({"allowed_users": [STRANGER]}, 0o666),
        ({"mode": 0o660}, 0o660),
        ({"mode": 0o200, "allowed_users": [STRANGER]}, 0o200),
    ],
)
def test_modes(options: Any, mode: int, mask: int, place: Path) -> None:
    before = os.umask(mask)
    try:
        server = serve(path=place / "socket", **options)
    finally:
        os.umask(before)
    assert mode_of(place / "socket") == mode
    assert mode_of(place / "socket.lock") == 0o600
    asyncio.run(server.close())
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-68")
async def test_a_stale_socket_is_taken_over(place: Path) -> None:
    leave_stale_socket(place / "socket")
    server = serve(path=place / "socket")
    await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
    await server.close()
    assert list(place.iterdir()) == []


async def in_use(place: Path) -> None:
    expected = f"a process listens at '{place}/socket' already; stop it, or choose"
    with pytest.raises(OSError, match=expected) as caught:
        serve(path=place / "socket")
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.covers("RDV-68")
@pytest.mark.parametrize("lock", ["there", "removed"])
async def test_a_living_server_is_left_alone(lock: str, place: Path) -> None:
    server = serve(path=place / "socket")
    if lock == "removed":
        (place / "socket.lock").unlink()
        assert not await server.connect(0)  # which makes it anew
    connecting = asyncio.create_task(server.connect(PATIENCE))
    before = os.lstat(place / "socket")
    await in_use(place)
    assert os.path.samestat(os.lstat(place / "socket"), before)
    client = make_ipc_channel_client(server.out_path, server.in_path)
    assert await client.connect(PATIENCE)
    assert await connecting
    await in_use(place)
    await has_session(server, client)
    await server.close()
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-68")
@pytest.mark.parametrize("queue", ["empty", "full"])
async def test_a_living_server_without_a_lock(queue: str, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as visitor:
        living.bind(str(place / "socket"))
        living.listen(0)
        if queue == "full":
            visitor.connect(str(place / "socket"))
        await in_use(place)
        assert os.listdir(place) == ["socket"]


@pytest.mark.covers("RDV-68")
@pytest.mark.parametrize("make", [is_file, is_link, is_directory, is_pipe])
async def test_what_is_no_socket_is_left_alone(make: Any, place: Path) -> None:
    path = place / "socket"
    make(path)
    before = os.lstat(path), sorted(os.listdir(place))
    what = "is not a socket, and is left alone; remove it"
    if path.is_dir():
        what = "is a directory; choose a path in it"
    with pytest.raises(BadRendezvousError, match=f"'{path}' {what}"):
        serve(path=path)
    assert os.path.samestat(before[0], os.lstat(path))
    assert sorted(os.listdir(place)) == before[1]


@pytest.mark.parametrize("path", ["", "./", "."])
def test_a_directory_is_not_to_be_removed(
    path: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The empty path, as of a setting that is not set, is the working directory."""
    monkeypatch.chdir(place)
    with pytest.raises(BadRendezvousError, match="is a directory; choose a path in it"):
        serve(path=path)
    assert list(place.iterdir()) == []


@needs_root
@pytest.mark.covers("RDV-68")
def test_another_users_socket_is_left_alone(place: Path) -> None:
    path = place / "socket"
    leave_stale_socket(path)
    os.chown(path, STRANGER, -1)
    with pytest.raises(BadRendezvousError, match=f"belongs to user {STRANGER}, not"):
        serve(path=path)
    assert os.listdir(place) == ["socket"]


@pytest.mark.covers("RDV-70")
@pytest.mark.parametrize("make", [is_file, is_link, leave_stale_socket])
async def test_close_leaves_what_replaced_the_socket(make: Any, place: Path) -> None:
    server = serve(path=place / "socket")
    (place / "socket").unlink()
    make(place / "socket")
    await server.close()
    assert "socket" in os.listdir(place)
    assert "socket.lock" not in os.listdir(place)


@pytest.mark.parametrize("user", ["root", "an ordinary one"])
def test_a_directory_that_takes_no_file(user: str, place: Path) -> None:
    directory = place / "directory"
    code = errno.ENOENT
    if user != "root":
        directory.mkdir(0o555)
        code = errno.EACCES
    program = (
        "import os, sys\nfrom ipc_channel import make_ipc_channel\n"
        f"if {user != 'root'} and os.geteuid() == 0: os.setuid({STRANGER})\n"
        "try: make_ipc_channel(transport='unix', path=sys.argv[1])\n"
        "except OSError as error: print(error.errno, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, directory / "socket"],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = (
        f"{code} [Errno {code}] cannot make a Unix socket in '{directory}':"
        f" {os.strerror(code)}; make that directory, and let this user"
    )
    assert done.stdout.startswith(expected), done


@pytest.mark.parametrize("left", range(6))
def test_no_descriptor_is_free(left: int, place: Path) -> None:
    leave_stale_socket(place / "socket")
    before = open_descriptors()
    try:
        with no_descriptor_left(but=left):
            server = serve(path=place / "socket")
    except OSError as error:
        # The socket, the lock, and up to two of the C library's, to set the mode.
        assert left < 4
        assert error.errno == errno.EMFILE
        assert "no descriptor is free: close some" in str(error)
        assert "socket.lock" not in os.listdir(place)
    else:
        asyncio.run(server.close())
        assert list(place.iterdir()) == []
    assert open_descriptors() == before


def test_a_stale_socket_that_has_gone_by_then(place: Path) -> None:
    remove_stale_socket(str(place / "none"))
