"""Directories that are looked at, made and taken for stale at the same time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from forks import in_a_thread, is_lock_free
from ipc_channel.transports import locked_directory
from ipc_channel.transports.locked_directory import remove_stale
from ipc_channel.transports.private_directory import PrivateDirectory
from raw import PATIENCE
from stale import leave_stale


def test_nothing_forks_while_a_directory_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The child would have a copy of the lock, and keep the directory for its life."""

    def locked(fd: int, operation: int, real: Any = fcntl.flock) -> None:
        real(fd, operation)
        free.append(in_a_thread(is_lock_free))

    free: list[bool] = []
    directory = leave_stale("in", "out")
    monkeypatch.setattr(fcntl, "flock", locked)
    locked_directory._remove_if_stale(str(directory))
    assert free == [False]
    assert not directory.exists()


@pytest.mark.parametrize("moment", ["before its lock", "at its lock"])
def test_a_directory_that_is_taken_for_stale_before_its_lock(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maker makes another one."""
    real = os.chmod
    held: list[int] = []
    seen: list[str] = []

    def chmod_and_be_late(path: str, mode: int) -> None:
        real(path, mode)
        if path.startswith(tempfile.gettempdir()) and not seen:
            seen.append(path)
            if moment == "before its lock":
                locked_directory._remove_if_stale(path)
            else:
                held.append(os.open(path, os.O_RDONLY))
                fcntl.flock(held[0], fcntl.LOCK_EX)

    monkeypatch.setattr(os, "chmod", chmod_and_be_late)
    directory = PrivateDirectory()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", os.path.dirname(directory.path))
    assert directory.path not in seen
    assert sorted(os.listdir(directory.path)) == ["in", "out"]
    for fd in held:
        os.close(fd)
    directory.remove()
    assert not os.path.exists(seen[0])


def test_a_directory_that_is_made_anew_and_taken_for_stale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is made once more, before it gets the name that helpers know."""
    directory = PrivateDirectory()
    shutil.rmtree(directory.path)
    real = os.chmod
    removed: list[str] = []

    def chmod_and_be_late(path: str, mode: int) -> None:
        real(path, mode)
        if not removed:
            removed.append(path)
            os.rmdir(path)

    monkeypatch.setattr(os, "chmod", chmod_and_be_late)
    directory.refresh()
    assert removed != [directory.path]
    assert sorted(os.listdir(directory.path)) == ["in", "out"]
    directory.remove()


RACER = """
import os
from ipc_channel.transports import locked_directory, private_directory
for _ in range(150):
    locked_directory._next_sweep.clear()
    directory = private_directory.PrivateDirectory()
    locked_directory._next_sweep.clear()
    locked_directory.remove_stale(os.path.dirname(directory.path))
    assert sorted(os.listdir(directory.path)) == ["in", "out"]
    directory.used = True
    directory.refresh()
    assert sorted(os.listdir(directory.path)) == ["in", "out"]
    directory.remove()
    assert not os.path.exists(directory.path)
"""


def test_many_processes_make_and_sweep_at_once() -> None:
    command = [sys.executable, "-c", RACER]
    environment = os.environ | {"TMPDIR": tempfile.gettempdir()}
    racers = [subprocess.Popen(command, env=environment) for _ in range(6)]
    assert [racer.wait(PATIENCE) for racer in racers] == [0] * len(racers)


def test_looking_takes_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]

    def scan(path: str) -> Any:
        looked.append(path)
        now[0] += 0.5
        raise PermissionError(path)

    looked: list[str] = []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scan)
        for passed in (0, 49, 1.1):
            now[0] += passed
            remove_stale("/somewhere")
    locked_directory._next_sweep.clear()
    assert looked == ["/somewhere"] * 2
