"""The strings, the environment variables, and the private directory."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

import vectors
from ipc_channel import BadRendezvousError, make_ipc_channel_client, rendezvous

CASES = {case["id"]: case for case in vectors.load("rendezvous")}
ENVIRONMENTS = {case["id"]: case for case in vectors.load("environment")}


@pytest.mark.parametrize("id_", CASES)
def test_strings(id_: str) -> None:
    case = CASES[id_]
    if "error" in case:
        with pytest.raises(BadRendezvousError) as caught:
            make_ipc_channel_client(case["in"], case["out"])
        assert caught.value.code == case["error"]
        return
    address = rendezvous.parse(case["in"], case["out"])
    assert address.transport == case["transport"]
    if isinstance(address, rendezvous.TCPAddress):
        assert (address.host, address.port) == (case["host"], case["port"])
    else:
        assert (address.in_path, address.out_path) == (case["in"], case["out"])


@pytest.mark.parametrize("id_", ENVIRONMENTS)
def test_environment(id_: str) -> None:
    case = ENVIRONMENTS[id_]
    if "error" in case:
        with pytest.raises(BadRendezvousError, match=case.get("names")) as caught:
            rendezvous.from_environment(case["env"])
        assert caught.value.code == case["error"]
    else:
        assert rendezvous.from_environment(case["env"]) == (case["in"], case["out"])
        told = rendezvous.to_environment(case["in"], case["out"])
        assert told.items() <= case["env"].items()


@pytest.mark.parametrize("value", [None, 5000, b"/tmp/in"])
def test_not_a_string(value: Any) -> None:
    with pytest.raises(TypeError, match="in_path is a str"):
        rendezvous.parse(value, "5000")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(BadRendezvousError, match="no file can have this name"):
        rendezvous.parse("/\ud800", "/out")


def test_not_an_environment() -> None:
    with pytest.raises(TypeError, match="environ is a mapping, not int"):
        rendezvous.from_environment(5)  # type: ignore[arg-type]  # is to be refused


@pytest.mark.covers("RDV-20")
def test_private_directory() -> None:
    directory = rendezvous.PrivateDirectory()
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
    directory = rendezvous.PrivateDirectory()
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
    directory = rendezvous.PrivateDirectory()
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
        rendezvous.PrivateDirectory()
    assert caught.value.__traceback__, "so that no finalizer has run"
    assert list(Path(tempfile.gettempdir()).glob("ipc-channel-*")) == []


def test_a_path_is_measured_in_bytes() -> None:
    path = "/" + "é" * 2047
    rendezvous.parse(path, "/x")
    with pytest.raises(BadRendezvousError, match="4095 bytes"):
        rendezvous.parse(path + "é", "/x")


def test_a_refusal_shows_the_string_up_to_a_length() -> None:
    for size in (120, 121):
        text = "x" * size
        with pytest.raises(BadRendezvousError) as caught:
            rendezvous.parse(text, text)
        shown = text if size == 120 else "x" * 117 + "..."
        assert f"bad rendezvous {shown!r}: " in str(caught.value)


@pytest.mark.parametrize("paths", [("nonsense", "5"), ("5", "nonsense")])
def test_a_refusal_names_the_string_that_is_wrong(paths: tuple[str, str]) -> None:
    with pytest.raises(BadRendezvousError, match="'nonsense': neither"):
        rendezvous.parse(*paths)


def test_a_platform_without_named_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "mkfifo")
    with pytest.raises(BadRendezvousError, match="no POSIX named pipes; use TCP"):
        rendezvous.PrivateDirectory()


def test_a_refresh_that_failed_may_be_repeated() -> None:
    directory = rendezvous.PrivateDirectory()
    os.mkfifo(directory.in_path + ".new")
    directory.used = True
    directory.refresh()
    assert sorted(os.listdir(directory.path)) == ["in", "out"]
    directory.remove()
