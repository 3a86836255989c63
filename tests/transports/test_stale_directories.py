"""What services leave behind that were killed is removed by the next channel; nothing else is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dispositions
from forks import in_a_thread, is_lock_free
from ipc_channel.transports import private_directory
from ipc_channel.transports.private_directory import PrivateDirectory, remove_stale
from raw import PATIENCE

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: needs root")

SERVICE = """
import signal, sys
from ipc_channel import make_ipc_channel
channel = make_ipc_channel(transport="named_pipe")
print(channel.in_path, flush=True)
signal.pause()
"""


@contextlib.contextmanager
def service(*before: str, code: str = SERVICE) -> Iterator[tuple[Any, Path]]:
    """Start a service in a process of its own; give it and its private directory."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": tempfile.gettempdir()},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=dispositions.restore,
    )
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().rstrip("\n")).parent
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def end(process: Any, number: int) -> None:
    process.send_signal(number)
    process.wait(PATIENCE)


def sweep() -> None:
    """Do what the first channel of a process does as it is made."""
    private_directory._next_sweep.clear()
    PrivateDirectory().remove()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_a_killed_service_leaves_is_removed(number: int) -> None:
    with service() as (process, directory):
        end(process, number)
        assert sorted(os.listdir(directory)) == ["in", "out"]
        with service() as (_, other):
            assert not directory.exists(), "removed by a channel of another process"
            assert other.exists()
    sweep()


def test_a_living_service_keeps_its_directory() -> None:
    with service() as (process, directory):
        sweep()
        process.send_signal(signal.SIGSTOP)
        sweep()
        assert sorted(os.listdir(directory)) == ["in", "out"]
    sweep()
    assert not directory.exists()


@needs_root
def test_a_service_of_another_pid_namespace_keeps_its_directory() -> None:
    with service("unshare", "--pid", "--fork", "--kill-child") as (_, directory):
        sweep()
        assert sorted(os.listdir(directory)) == ["in", "out"]
    sweep()


def test_our_own_channels_keep_their_directories() -> None:
    ours = [PrivateDirectory() for _ in range(3)]
    sweep()
    for directory in ours:
        assert sorted(os.listdir(directory.path)) == ["in", "out"]
        directory.remove()


@pytest.mark.parametrize("made", [[], ["in.new"], ["in.new", "out.new"], ["in", "out.new"]])
def test_a_service_that_was_killed_as_it_made_its_directory(made: list[str]) -> None:
    directory = stale(*made)
    sweep()
    assert not directory.exists()


def stale(*pipes: str, suffix: str = "abcd_123") -> Path:
    """Make what a killed service leaves."""
    directory = Path(tempfile.gettempdir(), "ipc-channel-py-" + suffix)
    directory.mkdir(0o700)
    for name in pipes:
        os.mkfifo(directory / name, 0o600)
    return directory


def test_what_a_live_child_of_a_killed_service_shares() -> None:
    """A worker made by fork does not use the channel, and does not keep its directory."""
    code = SERVICE.replace("signal.pause()", "import os; os.fork(); signal.pause()")
    with service(code=code) as (process, directory):
        end(process, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while directory.exists():  # until the child has run its hook
            assert time.monotonic() < deadline
            time.sleep(0.01)
            sweep()


def test_nothing_forks_while_a_directory_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The child would have a copy of the lock, and keep the directory for its life."""

    def locked(fd: int, operation: int, real: Any = fcntl.flock) -> None:
        real(fd, operation)
        free.append(in_a_thread(is_lock_free))

    free: list[bool] = []
    directory = stale("in", "out")
    monkeypatch.setattr(fcntl, "flock", locked)
    private_directory._remove_if_stale(str(directory))
    assert free == [False]
    assert not directory.exists()


def test_what_is_in_no_directory_of_ours_stays() -> None:
    directory = stale("in", "out")
    for name in ("in", "notes"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(directory / name)
        (directory / name).write_text("precious")
    sweep()
    assert sorted(os.listdir(directory)) == ["in", "notes"]
    shutil.rmtree(directory)


def test_directories_of_other_names_and_modes_stay(tmp_path: Path) -> None:
    temporary = Path(tempfile.gettempdir())
    others = [
        stale("in", "out", suffix="toolong_1"),
        stale("in", "out", suffix="Upper_12"),
        temporary / "ipc-channel-abcd_123",  # of a server by somebody else
    ]
    others[-1].mkdir(0o700)
    shared = stale("in", "out", suffix="shared_1")
    shared.chmod(0o755)
    target = tmp_path / "target"
    target.mkdir(0o700)
    os.mkfifo(target / "in")
    link = temporary / "ipc-channel-py-link_123"
    link.symlink_to(target)
    file = temporary / "ipc-channel-py-file_123"
    file.write_text("precious")
    sweep()
    assert file.read_text() == "precious"
    assert link.is_symlink()
    assert os.listdir(target) == ["in"]
    for path in (*others, shared):
        assert path.is_dir()
        shutil.rmtree(path)
    file.unlink()
    link.unlink()


@needs_root
def test_directories_of_another_user_stay() -> None:
    full, empty = stale("in", "out", suffix="stranger"), stale(suffix="stranger"[::-1])
    for path in (full / "in", full / "out", full, empty):
        os.chown(path, 12345, 12345)
    sweep()
    assert sorted(os.listdir(full)) == ["in", "out"]
    assert empty.exists()
    shutil.rmtree(full)
    empty.rmdir()


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
                private_directory._remove_if_stale(path)
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
from ipc_channel.transports import private_directory
for _ in range(150):
    private_directory._next_sweep.clear()
    directory = private_directory.PrivateDirectory()
    private_directory._next_sweep.clear()
    private_directory.remove_stale(os.path.dirname(directory.path))
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
    private_directory._next_sweep.clear()
    assert looked == ["/somewhere"] * 2


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing there is ever taken for stale."""

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    left = stale("in", "out")
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        directory = PrivateDirectory()
        shutil.rmtree(directory.path)
        directory.refresh()
        assert sorted(os.listdir(directory.path)) == ["in", "out"]
        directory.remove()
        sweep()
    assert sorted(os.listdir(left)) == ["in", "out"]
    sweep()
    assert not left.exists()


DAEMON = """
import asyncio, os, sys
from ipc_channel import WrongProcessError, make_ipc_channel
channel = make_ipc_channel(transport="named_pipe")
if os.fork():
    END
os.read(0, 1)  # until the parent has ended
try:
    asyncio.run(channel.connect(60))
except WrongProcessError as error:
    print("after the fork" in str(error), os.path.exists(channel.in_path), flush=True)
asyncio.run(channel.close())
"""


@pytest.mark.parametrize("leave", ["sys.exit()", "os._exit(0)"])
def test_a_service_that_daemonises_after_it_has_made_its_channel(leave: str) -> None:
    """It is told to make the channel afterwards, and what it had made does not stay."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", DAEMON.replace("END", leave)],
        env=os.environ | {"TMPDIR": tempfile.gettempdir()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.wait(PATIENCE) == 0
    said, _ = process.communicate("x", PATIENCE)
    assert said == f"True {leave == 'os._exit(0)'}\n"
    sweep()
    assert os.listdir(tempfile.gettempdir()) == []
