"""Something else in the place of a server's directory: told, and left alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    BadRendezvousError,
    PosixNamedPipeChannel,
)
from ipc_channel.transports.private_directory import PrivateDirectory
from named_pipes import a_file, check_session, client_of, remove_directory, until_read
from raw import CLOSE, PATIENCE, eventually, frame, meet


def our_directory_with(mode: int) -> Callable[[str], None]:
    def make(path: str) -> None:
        os.mkdir(path)
        os.chmod(path, mode)

    return make


def strangers_directory(path: str) -> None:
    os.mkdir(path, 0o700)
    os.chown(path, 12345, 12345)


def link_to_a_directory(path: str) -> None:
    os.mkdir(path + "-target", 0o700)
    os.symlink(path + "-target", path)


OTHERS = {
    "0777 and sticky": (our_directory_with(0o1777), "has mode 0777, not 0700"),
    "0710": (our_directory_with(0o710), "has mode 0710, not 0700"),
    "0500": (our_directory_with(0o500), "has mode 0500, not 0700"),
    "a stranger's": (strangers_directory, "belongs to user 12345"),
    "a symbolic link": (link_to_a_directory, "is not a directory"),
    "a file": (a_file, "is not a directory"),
}


@pytest.mark.covers("RDV-33")
@pytest.mark.parametrize("waits", [False, True], ids=["before connect", "while it waits"])
@pytest.mark.parametrize("other", OTHERS)
async def test_something_else_in_the_directorys_place(other: str, waits: bool) -> None:
    if other == "a stranger's" and os.geteuid() != 0:
        pytest.skip("NOT TESTED: giving a directory to another user needs root")
    replace, why = OTHERS[other]
    server = PosixNamedPipeChannel()
    directory = os.path.dirname(server.in_path)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    if waits:
        await until_read(server.in_path)
    shutil.rmtree(directory)
    replace(directory)
    with pytest.raises(BadRendezvousError, match=f"{directory}.*{why}.*make another"):
        await connecting
    with pytest.raises(BadRendezvousError):  # and again, each time
        await server.connect(0)
    if other != "a file":
        assert os.listdir(directory) == []
    await server.close()
    assert os.path.lexists(directory), "what is not ours stays"
    for path in (directory, directory + "-target"):
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        elif os.path.lexists(path):
            os.unlink(path)


def gone(path: str) -> None:
    """Leave nothing in the place of a directory that was renamed."""


GONE = {"gone": (gone, "No such file"), "a file": (a_file, "Not a directory")}


@pytest.mark.covers("RDV-33")
@pytest.mark.parametrize("waits", [False, True], ids=["before connect", "while it waits"])
@pytest.mark.parametrize("other", GONE)
async def test_a_temporary_directory_that_is_renamed(
    other: str, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names it; once it is back, the same channel connects."""
    replace, why = GONE[other]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    if waits:
        await until_read(server.in_path)
    temporary.rename(tmp_path / "elsewhere")
    replace(str(temporary))
    with pytest.raises(BadRendezvousError) as caught:
        await connecting
    assert str(caught.value) == (
        f"the channel's directory {os.path.dirname(server.in_path)!r} cannot be recreated"
        f" ({caught.value.__cause__.strerror}): restore {str(temporary)!r} and connect"  # type: ignore[union-attr]  # an OSError
        " again, or close the channel and make another"
    )
    assert why in str(caught.value)
    temporary.unlink(missing_ok=True)
    temporary.mkdir()
    client = client_of(server)
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    await check_session(server, client)
    await server.close()
    assert list(temporary.iterdir()) == []


@pytest.mark.covers("RDV-21")
async def test_a_file_in_the_place_of_the_directory_of_a_client() -> None:
    server = PosixNamedPipeChannel()
    client = client_of(server)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await until_read(server.out_path)
    stray = os.open(server.in_path, os.O_RDONLY | os.O_NONBLOCK)
    pipes = client._pipes
    await eventually(pipes.is_read)
    remove_directory(server)
    a_file(os.path.dirname(server.in_path))
    with pytest.raises(BadRendezvousError, match="Not a directory"):
        await connecting
    os.close(stray)
    os.unlink(os.path.dirname(server.in_path))
    await server.close()


@pytest.mark.covers("RDV-33")
async def test_a_directory_whose_mode_was_changed() -> None:
    server = PosixNamedPipeChannel()
    os.chmod(os.path.dirname(server.in_path), 0o755)
    with pytest.raises(BadRendezvousError, match="has mode 0755, not 0700"):
        await server.connect(0)
    await server.close()
    assert os.listdir(tempfile.gettempdir()) == []


@pytest.mark.parametrize("other", ["a file", "a full directory", "an empty directory"])
def test_something_that_takes_the_name_just_then(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(source: str, target: str, real: Callable[..., None] = os.rename) -> None:
        if target == directory.path:
            a_file(target) if other == "a file" else os.mkdir(target, 0o700)
            if other == "a full directory":
                a_file(f"{target}/file")
        real(source, target)

    descriptors = open_descriptors()
    directory = PrivateDirectory()
    shutil.rmtree(directory.path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        if other == "a file":
            with pytest.raises(BadRendezvousError, match="is not a directory"):
                directory.refresh()
            os.unlink(directory.path)
        else:
            directory.refresh()
    directory.refresh()
    assert {"in", "out"} <= set(os.listdir(directory.path))
    assert len(os.listdir(tempfile.gettempdir())) == 1
    if other == "a full directory":
        os.unlink(f"{directory.path}/file")
    directory.remove()
    assert open_descriptors() == descriptors


async def test_something_else_in_its_place_as_a_session_ends() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    directory = os.path.dirname(server.in_path)
    shutil.rmtree(directory)
    a_file(directory)
    peer.send(frame(b"still here") + CLOSE)
    assert await server.read() == b"still here"
    assert await server.read() is None
    os.unlink(directory)
    client = client_of(server)
    peer.close()
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    await check_session(server, client)
    await server.close()
