"""The private directory of a server's named pipes: made, checked, made anew, removed."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    BadRendezvousError,
    IPCChannelClient,
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
)
from ipc_channel.transports.pipe_address import PipeAddress
from ipc_channel.transports.pipe_connector import PipeConnector
from ipc_channel.transports.private_directory import PrivateDirectory
from raw import CLOSE, PATIENCE, eventually, frame, meet


@pytest.mark.covers("RDV-20")
def test_private_directory() -> None:
    directory = PrivateDirectory()
    try:
        assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o700
        inodes = []
        for path in (directory.in_path, directory.out_path):
            status = os.stat(path)
            assert stat.S_ISFIFO(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == 0o600
            inodes.append(status.st_ino)
        held = os.open(directory.in_path, os.O_RDONLY | os.O_NONBLOCK)
        directory.refresh()
        assert os.fstat(held).st_ino == os.stat(directory.in_path).st_ino, "not used yet"
        directory.used = True
        directory.refresh()
        assert os.fstat(held).st_ino != os.stat(directory.in_path).st_ino
        os.close(held)
        assert sorted(os.listdir(directory.path)) == ["in", "out"]
    finally:
        directory.remove()
    assert not os.path.exists(directory.path)
    directory.remove()
    directory.used = True
    directory.refresh()
    assert not os.path.exists(directory.path)


def test_a_forked_child_leaves_the_directory_alone() -> None:
    directory = PrivateDirectory()
    try:
        child = os.fork()
        if child == 0:
            directory.remove()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert os.path.exists(directory.in_path)
    finally:
        directory.remove()


def test_names_are_there_at_every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = PrivateDirectory()
    real = os.mkfifo

    def checked(path: str, mode: int) -> None:
        assert {"in", "out"} <= set(os.listdir(directory.path))
        real(path, mode)

    monkeypatch.setattr(os, "mkfifo", checked)
    directory.used = True
    directory.refresh()
    directory.remove()


def test_a_directory_whose_pipes_cannot_be_made_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(path: str, mode: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkfifo", full)
    with pytest.raises(OSError, match="No space") as caught:
        PrivateDirectory()
    assert caught.value.__traceback__, "so that no finalizer has run"
    assert list(Path(tempfile.gettempdir()).glob("ipc-channel-*")) == []


def test_a_platform_without_named_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "mkfifo")
    with pytest.raises(BadRendezvousError, match="no POSIX named pipes; use TCP"):
        PrivateDirectory()


def test_a_refresh_that_failed_may_be_repeated() -> None:
    directory = PrivateDirectory()
    os.mkfifo(directory.in_path + ".new")
    directory.used = True
    directory.refresh()
    assert sorted(os.listdir(directory.path)) == ["in", "out"]
    directory.remove()


@pytest.mark.covers("RDV-23", "RDV-27")
async def test_a_client_that_comes_while_pipes_are_replaced_finds_a_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pipe that it reads is replaced last: by that it notices that both are new."""
    directory = PrivateDirectory()
    session = os.open(directory.in_path, os.O_RDONLY | os.O_NONBLOCK)  # the one before
    client = PipeConnector(PipeAddress(directory.out_path, directory.in_path))
    loop = asyncio.get_running_loop()
    real, renamed = os.rename, []

    def rename_and_be_slow(source: str, target: str) -> None:
        real(source, target)
        renamed.append(target)
        if len(renamed) == 1:
            assert client.attempt(loop) is None

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename_and_be_slow)
        directory.used = True
        directory.refresh()
    reader = os.open(directory.in_path, os.O_RDONLY | os.O_NONBLOCK)  # the next session
    for _ in range(3):
        assert client.attempt(loop) is None
    writer = os.open(directory.out_path, os.O_WRONLY | os.O_NONBLOCK)
    stream = client.attempt(loop)
    assert stream is not None
    stream.write([b"to the next session"])
    assert os.read(reader, 100) == b"to the next session"
    stream.close()
    for fd in (session, reader, writer):
        os.close(fd)
    directory.remove()


def remove_directory(server: PosixNamedPipeChannel) -> None:
    shutil.rmtree(os.path.dirname(server.in_path))


def remove_in(server: PosixNamedPipeChannel) -> None:
    os.unlink(server.in_path)


def remove_out(server: PosixNamedPipeChannel) -> None:
    os.unlink(server.out_path)


def empty_directory(server: PosixNamedPipeChannel) -> None:
    remove_in(server)
    remove_out(server)


Cleaner = Callable[[PosixNamedPipeChannel], None]
CLEANERS = [remove_directory, empty_directory, remove_in, remove_out]


def client_of(server: PosixNamedPipeChannel) -> PosixNamedPipeChannelClient:
    return PosixNamedPipeChannelClient(server.out_path, server.in_path)


async def check_session(server: PosixNamedPipeChannel, client: IPCChannelClient) -> None:
    """Pass a message each way, and end the session from the client's side."""
    await client.write(b"there")
    assert await server.read() == b"there"
    await server.write(b"back")
    assert await client.read() == b"back"
    await client.close()
    assert await server.read() is None


async def until_read(path: str) -> None:
    """Wait until somebody has opened the pipe at ``path`` for reading."""

    def is_read() -> bool:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            assert error.errno in (errno.ENXIO, errno.ENOENT)
            return False
        return True

    await eventually(is_read)


@pytest.mark.covers("RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removed_before_connect(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    paths = server.in_path, server.out_path
    clean(server)
    client = client_of(server)
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    assert (server.in_path, server.out_path) == paths, "which the helper was told"
    directory = os.path.dirname(server.in_path)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    await check_session(server, client)
    await server.close()
    assert not os.path.exists(directory)


@pytest.mark.covers("RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removes_while_the_server_waits(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_read(server.in_path)
    clean(server)
    client = client_of(server)
    assert await client.connect(PATIENCE)
    assert await connecting
    await check_session(server, client)
    await server.close()


@pytest.mark.covers("RDV-23", "RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removes_while_the_client_waits(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    client = client_of(server)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await until_read(server.out_path)
    clean(server)
    assert await server.connect(PATIENCE)
    assert await connecting
    await check_session(server, client)
    await server.close()


@pytest.mark.covers("RDV-32")
@pytest.mark.parametrize("clean", CLEANERS)
async def test_pipes_that_a_cleaner_removes_between_sessions(clean: Cleaner) -> None:
    server = PosixNamedPipeChannel()
    for _ in range(3):
        client = client_of(server)
        assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
        await check_session(server, client)
        clean(server)
    await server.close()


async def test_a_cleaner_ends_no_session() -> None:
    server = PosixNamedPipeChannel()
    peer = await meet(server)
    remove_directory(server)
    peer.send(frame(b"still here") + CLOSE)
    assert await server.read() == b"still here"
    assert await server.read() is None
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-25", "RDV-32")
async def test_a_peer_that_came_before_the_cleaner_is_heard() -> None:
    server = PosixNamedPipeChannel()
    assert not await server.connect(0)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_read(server.in_path)
    writer = os.open(server.in_path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, frame(b"I was here") + CLOSE)
    os.close(writer)
    remove_directory(server)
    assert await connecting
    assert await server.read() == b"I was here"
    await server.close()


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


def a_file(path: str) -> None:
    Path(path).write_text("precious")


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
        f"the channel's directory {os.path.dirname(server.in_path)!r} cannot be made anew"
        f" ({caught.value.__cause__.strerror}): put {str(temporary)!r} back and connect"  # type: ignore[union-attr]  # an OSError
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
    await eventually(pipes._is_read)
    remove_directory(server)
    a_file(os.path.dirname(server.in_path))
    with pytest.raises(BadRendezvousError, match="Not a directory"):
        await connecting
    os.close(stray)
    os.unlink(os.path.dirname(server.in_path))
    await server.close()


async def test_a_cleaner_that_comes_while_pipes_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are made anew at the next try."""
    server = PosixNamedPipeChannel()
    real, cleaned = os.mkfifo, list[str]()

    def mkfifo_too_late(path: str, mode: int) -> None:
        if not cleaned:
            cleaned.append(path)
            remove_directory(server)
        real(path, mode)

    monkeypatch.setattr(os, "mkfifo", mkfifo_too_late)
    remove_in(server)
    client = client_of(server)
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    assert cleaned
    await check_session(server, client)
    await server.close()


@pytest.mark.covers("RDV-33")
async def test_a_directory_whose_mode_was_changed() -> None:
    server = PosixNamedPipeChannel()
    os.chmod(os.path.dirname(server.in_path), 0o755)
    with pytest.raises(BadRendezvousError, match="has mode 0755, not 0700"):
        await server.connect(0)
    await server.close()
    assert os.listdir(tempfile.gettempdir()) == []


class Interrupt(BaseException):
    pass


def interrupt(*_: object) -> None:
    raise Interrupt


@pytest.mark.parametrize("call", ["chmod", "rename", "mkfifo"])
def test_a_making_that_is_interrupted_may_be_repeated(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the umask takes away, which only comes back with the mode."""
    descriptors = open_descriptors()
    directory = PrivateDirectory()
    shutil.rmtree(directory.path)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupt)
        before = os.umask(0o777)
        with pytest.raises(Interrupt):
            directory.refresh()
        os.umask(before)
    directory.refresh()
    assert sorted(os.listdir(directory.path)) == ["in", "out"]
    assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o700
    directory.remove()
    assert os.listdir(tempfile.gettempdir()) == []
    assert open_descriptors() == descriptors


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


def test_a_file_system_that_keeps_no_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    def chmod(path: str, mode: int, real: Callable[..., None] = os.chmod) -> None:
        real(path, 0o777)

    before = open_descriptors()
    monkeypatch.setattr(os, "chmod", chmod)
    with pytest.raises(
        BadRendezvousError, match="has 0777: its file system keeps no modes"
    ):
        PosixNamedPipeChannel()
    assert os.listdir(tempfile.gettempdir()) == []
    assert open_descriptors() == before


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


async def test_files_of_others_in_the_directory_stay() -> None:
    server = PosixNamedPipeChannel()
    directory = os.path.dirname(server.in_path)
    mine = Path(directory, "mine")
    mine.write_text("precious")
    await server.close()
    assert os.listdir(directory) == ["mine"]
    shutil.rmtree(directory)


async def test_a_channel_holds_one_descriptor_while_it_waits_for_nobody() -> None:
    before = open_descriptors()
    server = PosixNamedPipeChannel()
    remove_directory(server)
    assert not await server.connect(0)
    assert [text.split(" ", 1)[1] for text in open_descriptors() - before] == [
        os.path.dirname(server.in_path)
    ]
    await server.close()
    assert open_descriptors() == before
