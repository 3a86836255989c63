"""Where a private directory is made: relative, odd, full, read-only, or not there at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ipc_channel import (
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
    make_ipc_channel,
)
from odd_paths import NAMES, make_long
from raw import PATIENCE


async def check_channel(server: PosixNamedPipeChannel) -> None:
    """Pass a message over ``server``, close it, and check that nothing is left."""
    client = PosixNamedPipeChannelClient(server.out_path, server.in_path)
    assert all(await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE)))
    await client.write(b"there")
    assert await server.read() == b"there"
    await client.close()
    assert await server.read() is None
    await server.close()
    assert not os.path.lexists(os.path.dirname(server.in_path))


async def test_a_relative_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "relative").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", "relative")
    server = PosixNamedPipeChannel()
    assert Path(server.in_path).parents[1] == tmp_path / "relative"
    monkeypatch.chdir("/")
    await check_channel(server)
    assert list((tmp_path / "relative").iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
async def test_odd_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = os.path.join(os.fsencode(tmp_path), NAMES[name])
    os.mkdir(directory)
    monkeypatch.setattr(tempfile, "tempdir", os.fsdecode(directory))
    await check_channel(PosixNamedPipeChannel())
    assert os.listdir(directory) == []


async def test_a_symbolic_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "link"))
    await check_channel(PosixNamedPipeChannel())
    assert list((tmp_path / "target").iterdir()) == []


OUR_PART = len("/ipc-channel-py-12345678")


@pytest.mark.parametrize("room", [len("/out.new"), len("/out.new") - 1, 0, -1])
async def test_long_paths(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either it works, or nothing is left."""
    directory = make_long(tmp_path, 4095 - OUR_PART - room)
    monkeypatch.setattr(tempfile, "tempdir", directory)
    if room == len("/out.new"):
        await check_channel(PosixNamedPipeChannel())
    else:
        with pytest.raises(OSError, match="File name too long"):
            PosixNamedPipeChannel()
    assert os.listdir(directory) == []


@pytest.mark.parametrize("kind", ["missing", "a file", "a loop"])
def test_no_directory(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "directory"
    if kind == "a file":
        path.write_text("precious")
    elif kind == "a loop":
        path.symlink_to(path)
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    with pytest.raises(
        OSError, match=rf"in '{path}': .*; set TMPDIR, or tempfile\.tempdir, .*tcp"
    ):
        make_ipc_channel(transport="named_pipe")
    assert not path.exists() or path.read_text() == "precious"


async def test_another_directory_by_the_time_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PosixNamedPipeChannel()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await check_channel(server)


def run(code: str, directory: Path, *before: str) -> None:
    """Run a program in ``directory``, which is all that it may leave something in."""
    done = subprocess.run(
        [*before, sys.executable, "-W", "error::ResourceWarning", "-c", code, directory],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(directory.iterdir()) == []


def test_a_process_that_ends_elsewhere(tmp_path: Path) -> None:
    code = """
import os, tempfile
from ipc_channel import make_ipc_channel
tempfile.tempdir = "."
channel = make_ipc_channel(transport="named_pipe")
assert os.path.isabs(channel.in_path)
assert len(os.listdir()) == 1
os.chdir("/")
tempfile.tempdir = "/nowhere"
del channel._status  # so no warning: this is about the end of the process
"""
    run(code, tmp_path)


IN_A_SMALL_FILE_SYSTEM = """
import asyncio, errno, os, subprocess, sys, tempfile
from ipc_channel import *
directory = tempfile.tempdir = sys.argv[1]

def mount(*options):
    subprocess.run(["mount", "-o", ",".join(options), *TYPE, directory], check=True)

TYPE = ["-t", "tmpfs", "tmpfs"]

async def meet(server):
    client = make_ipc_channel_client(server.out_path, server.in_path)
    assert all(await asyncio.gather(server.connect(60), client.connect(60)))
    await client.write(b"there")
    assert await server.read() == b"there"
    await client.close()
    assert await server.read() is None

def refused(number, make):
    try:
        result = make()
    except OSError as error:
        assert error.errno == number, error
    else:
        raise AssertionError(result)
"""
FULL = """
for inodes in (1, 2, 3):  # the root; then the directory; then one of the pipes
    mount(f"nr_inodes={inodes}")
    refused(errno.ENOSPC, make_ipc_channel)
    assert os.listdir(directory) == []
    subprocess.run(["umount", directory], check=True)

async def main():
    mount("nr_inodes=5")
    server = make_ipc_channel()
    filler = os.path.join(directory, "filler")
    open(filler, "w").close()
    await meet(server)
    try:
        await server.connect(0)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    else:
        raise AssertionError("there was room")
    os.unlink(filler)
    mount("remount", "nr_inodes=10")
    await meet(server)
    await server.close()
    assert os.listdir(directory) == []

asyncio.run(main())
subprocess.run(["umount", directory], check=True)
"""
READ_ONLY = """
import ipc_channel.transports.locked_directory

async def main():
    mount("size=1m")
    server = make_ipc_channel()
    TYPE.clear()
    mount("remount", "ro")
    refused(errno.EROFS, make_ipc_channel)
    await meet(server)
    try:
        await server.connect(0)
    except OSError as error:
        assert error.errno == errno.EROFS
    else:
        raise AssertionError("it was written to")
    mount("remount", "rw")
    await meet(server)
    await server.disconnect()  # or else pipes that are removed and open keep it busy
    mount("remount", "ro")
    await server.close()
    assert len(os.listdir(directory)) == 1
    mount("remount", "rw")
    ipc_channel.transports.locked_directory._next_sweep.clear()  # it may look again at once
    other = make_ipc_channel()  # removes what was left, as its owner let go of it
    assert os.listdir(directory) == [os.path.basename(os.path.dirname(other.in_path))]
    await other.close()
    assert os.listdir(directory) == []

asyncio.run(main())
subprocess.run(["umount", directory], check=True)
"""


def can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("code", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_file_system_that_takes_nothing(code: str, tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("NOT TESTED: mounting a file system needs root")
    run(IN_A_SMALL_FILE_SYSTEM + code, tmp_path, "unshare", "--mount")
    shutil.rmtree(tmp_path)


def test_no_directory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the file system is read-only, and TMPDIR is not set."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(FileNotFoundError, match=r"\['/nowhere'\]; set TMPDIR, .*tcp"):
        make_ipc_channel(transport="named_pipe")


NO_DESCRIPTOR = """
import asyncio, errno, os, resource, sys, tempfile
from ipc_channel import make_ipc_channel

async def main():
    channel = make_ipc_channel(transport="named_pipe")
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
    for place in tempfile.tempdir, None:  # known already; yet to be found
        tempfile.tempdir = place
        try:
            make_ipc_channel(transport="named_pipe")
        except OSError as error:
            assert error.errno == errno.EMFILE
            assert "no descriptor is free: close some, or raise ulimit -n" in str(error)
        else:
            raise AssertionError("there was a descriptor")
    await channel.close()

asyncio.run(main())
"""


def test_no_free_descriptor(tmp_path: Path) -> None:
    """Making a channel says so; closing one needs none to remove its directory."""
    code = "import sys, tempfile; tempfile.tempdir = sys.argv[1]\n" + NO_DESCRIPTOR
    run(code, tmp_path)
