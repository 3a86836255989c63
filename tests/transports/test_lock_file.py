"""The lock beside a socket: which of two processes has it, and what is no lock."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from forks import in_a_thread, is_lock_free
from ipc_channel import BadRendezvousError
from ipc_channel.transports.lock_file import LockFile
from other_users import STRANGER, needs_root
from raw import PATIENCE


@pytest.mark.covers("RDV-68")
def test_two_locks(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    one, other = LockFile(path), LockFile(path)
    assert one.acquire()
    assert one.acquire(), "it has it"
    assert not other.acquire()
    other.release()
    assert one.holds(), "who has no lock removes no file"
    one.release()
    one.release()
    assert not os.path.lexists(path)
    assert other.acquire()
    other.release()


def test_a_file_that_is_not_locked_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "lock").chmod(0)
    lock = LockFile(str(tmp_path / "lock"))
    assert lock.acquire()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.covers("RDV-68")
def test_a_file_that_is_removed_as_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder has removed it between open and flock: a lock on it protects nothing."""
    path = str(tmp_path / "lock")
    first, late = LockFile(path), LockFile(path)
    assert first.acquire()
    real = fcntl.flock
    calls: list[int] = []

    def flock(fd: int, operation: int) -> None:
        if not calls:
            first.release()
        calls.append(fd)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert late.acquire()
    assert len(calls) == 2
    assert late.holds()
    late.release()


def test_it_is_taken_anew_once_its_file_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    one, other = LockFile(str(path)), LockFile(str(path))
    assert one.renew()
    assert one.renew()
    path.unlink()
    assert not one.holds()
    assert one.renew()
    assert one.holds()
    path.unlink()
    assert other.acquire()
    assert not one.renew()
    one.release()
    assert path.exists(), "it is another's by now"
    other.release()


def a_link(path: Path) -> str:
    path.symlink_to("target")
    return "is not a regular file"


def a_directory(path: Path) -> str:
    path.mkdir()
    return "is not a regular file"


def a_pipe(path: Path) -> str:
    os.mkfifo(path)
    return "is not a regular file"


def a_socket(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    return "is not a regular file"


def precious(path: Path) -> str:
    path.write_text("precious, as of a package manager")
    path.chmod(0o644)
    return "is not empty, so it may be precious"


def two_names(path: Path) -> str:
    path.with_name("other").touch()
    os.link(path.with_name("other"), path)
    return "has another name, so it may be precious"


def a_strangers(path: Path) -> str:
    path.touch()
    os.chown(path, STRANGER, -1)
    return f"belongs to user {STRANGER}, not"


@needs_root
@pytest.mark.covers("RDV-68")
@pytest.mark.parametrize(
    "make", [a_link, a_directory, a_pipe, a_socket, precious, two_names, a_strangers]
)
def test_what_is_no_lock_is_left_alone(make: Callable[[Path], str], place: Path) -> None:
    path = place / "lock"
    why = make(path)
    before, held = os.lstat(path), open_descriptors()
    lock = LockFile(str(path))
    with pytest.raises(BadRendezvousError, match=f"{why}.*: remove it, or choose"):
        lock.acquire()
    lock.release()
    after = os.lstat(path)
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert open_descriptors() == held
    assert not (place / "target").exists()


def test_the_umask_takes_nothing_away(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        lock = LockFile(str(tmp_path / "lock"))
        assert lock.acquire()
    finally:
        os.umask(before)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    lock.release()


def test_a_directory_that_has_become_a_file(tmp_path: Path) -> None:
    before = open_descriptors()
    directory = tmp_path / "directory"
    directory.mkdir()
    lock = LockFile(str(directory / "lock"))
    assert lock.acquire()
    (directory / "lock").unlink()
    directory.rmdir()
    directory.touch()
    assert not lock.holds()
    lock.release()
    assert open_descriptors() == before


def test_nothing_forks_while_a_lock_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(fd: int, operation: int, real: Any = fcntl.flock) -> None:
        real(fd, operation)
        free.append(in_a_thread(is_lock_free))

    free: list[bool] = []
    monkeypatch.setattr(fcntl, "flock", locked)
    lock = LockFile(str(tmp_path / "lock"))
    assert lock.acquire()
    assert free == [False]
    lock.release()


def test_a_forked_child_leaves_it_alone(tmp_path: Path) -> None:
    lock = LockFile(str(tmp_path / "lock"))
    assert lock.acquire()
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0 if not lock.holds() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert lock.holds()
    lock.release()


RACER = """
import os, sys
from ipc_channel.transports.lock_file import LockFile
lock = LockFile(sys.argv[1])
won = 0
while won < 200:
    if lock.acquire():
        os.mkdir(sys.argv[2])  # fails if another process has the lock too
        os.rmdir(sys.argv[2])
        won += 1
        lock.release()
"""


@pytest.mark.covers("RDV-68")
def test_many_processes_take_and_leave_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, f"{tmp_path}/lock", f"{tmp_path}/inside"]
    racers = [subprocess.Popen(command) for _ in range(5)]
    assert [racer.wait(PATIENCE) for racer in racers] == [0] * 5
    assert list(tmp_path.iterdir()) == []
