"""What a client does not take for its named pipes, and leaves untouched."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    BadRendezvousError,
    PosixNamedPipeChannelClient,
    PosixNamedPipeProtocol,
)
from raw import PATIENCE


@pytest.mark.covers("RDV-11", "RDV-21")
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "socket", "device"])
async def test_what_is_no_pipe_is_refused(
    paths: tuple[str, str], tmp_path: Path, kind: str, which: int
) -> None:
    bad = str(tmp_path / "bad")
    if kind == "file":
        Path(bad).write_bytes(b"precious")
    elif kind == "directory":
        os.mkdir(bad)
    elif kind == "symlink":
        os.symlink(paths[which], bad)
    elif kind == "socket":
        directory = os.open(os.path.dirname(bad), os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as sock:  # its paths must be short
            sock.bind(f"/proc/self/fd/{directory}/{os.path.basename(bad)}")
        os.close(directory)
    else:
        bad = "/dev/null"
    used = (bad, paths[1]) if which == 0 else (paths[0], bad)
    reader = os.open(paths[1], os.O_RDONLY | os.O_NONBLOCK)  # a pipe alone would connect
    before = open_descriptors()
    client = PosixNamedPipeChannelClient(*used)
    why = "is a symbolic link" if kind == "symlink" else "is not a named pipe"
    with pytest.raises(BadRendezvousError, match=why) as caught:
        await client.connect(PATIENCE)
    assert bad in str(caught.value)
    assert open_descriptors() == before
    if kind == "file":
        assert Path(bad).read_bytes() == b"precious"
    await client.close()
    os.close(reader)


@pytest.mark.covers("RDV-21")
@pytest.mark.parametrize("which", [0, 1])
async def test_a_pipe_of_another_owner_is_refused(
    paths: tuple[str, str], which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        os.chown(paths[which], 12345, -1)
    else:  # root is needed to make another user's pipe: be another user
        status = os.stat(paths[1 - which])
        assert status.st_uid == os.geteuid()
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
    client = PosixNamedPipeChannelClient(*paths)
    with pytest.raises(BadRendezvousError, match="belongs to user"):
        await client.connect(PATIENCE)
    await client.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_a_want_of_our_own_is_not_blamed_on_the_rendezvous(
    paths: tuple[str, str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    client = PosixNamedPipeChannelClient(*paths)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            await client.connect(PATIENCE)
    assert not isinstance(caught.value, BadRendezvousError)
    await client.close()


def test_tcp_strings_are_refused() -> None:
    with pytest.raises(BadRendezvousError, match="not a named pipe"):
        PosixNamedPipeProtocol("5000", "5000")


@pytest.mark.covers("RDV-21")
@pytest.mark.parametrize("kind", ["file", "symlink", "owner"])
async def test_a_path_that_changes_after_it_was_looked_at(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``lstat`` saw a pipe of ours; what is opened is something else."""
    good, bad = f"{tmp_path}/good", f"{tmp_path}/bad"
    for path in (good, f"{tmp_path}/target"):
        os.mkfifo(path)
    if kind == "file":
        Path(bad).write_bytes(b"precious")
    elif kind == "symlink":
        os.symlink(f"{tmp_path}/target", bad)
    else:
        os.mkfifo(bad)
        real = os.fstat

        def of_another(fd: int) -> os.stat_result:
            status = list(real(fd))
            status[stat.ST_UID] += 1
            return os.stat_result(status)

        monkeypatch.setattr(os, "fstat", of_another)
    why = {
        "file": "is not a named pipe",
        "symlink": "symbolic links",
        "owner": "belongs to",
    }
    before = open_descriptors()
    seen = {bad: os.lstat(good), good: os.lstat(f"{tmp_path}/target")}
    monkeypatch.setattr(os, "lstat", seen.__getitem__)
    client = PosixNamedPipeChannelClient(bad, good)
    with pytest.raises(BadRendezvousError, match=why[kind]) as caught:
        await client.connect(0.05)
    assert f"'{bad}'" in str(caught.value)
    monkeypatch.undo()
    assert open_descriptors() == before
    await client.close()


@pytest.mark.covers("RDV-11")
async def test_a_bad_out_is_refused_while_in_is_missing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    for out, text in (("out", "not a named pipe"), ("out/below", "Not a directory")):
        client = PosixNamedPipeChannelClient(str(tmp_path / "in"), str(tmp_path / out))
        with pytest.raises(BadRendezvousError, match=text):
            await client.connect(PATIENCE)
        await client.close()
