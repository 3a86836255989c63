"""The private directory of a server's named pipes: made, used, removed."""

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
    PosixNamedPipeChannel,
)
from ipc_channel.transports.pipe_address import PipeAddress
from ipc_channel.transports.pipe_connector import PipeConnector
from ipc_channel.transports.private_directory import PrivateDirectory
from named_pipes import remove_directory


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


def test_a_file_system_that_keeps_no_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    def chmod(path: str, mode: int, real: Callable[..., None] = os.chmod) -> None:
        real(path, 0o777)

    before = open_descriptors()
    monkeypatch.setattr(os, "chmod", chmod)
    with pytest.raises(
        BadRendezvousError, match="has 0777: its file system does not keep modes"
    ):
        PosixNamedPipeChannel()
    assert os.listdir(tempfile.gettempdir()) == []
    assert open_descriptors() == before


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
