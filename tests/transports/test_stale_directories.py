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
from ipc_channel.transports.private_directory import PrivateDirectory
from raw import PATIENCE
from stale import leave_stale, sweep

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
    """Have it ended, but not reaped: its number must still be its own for ``service``."""
    process.send_signal(number)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


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
    directory = leave_stale(*made)
    sweep()
    assert not directory.exists()


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


def test_what_is_in_no_directory_of_ours_stays() -> None:
    directory = leave_stale("in", "out")
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
        leave_stale("in", "out", suffix="toolong_1"),
        leave_stale("in", "out", suffix="Upper_12"),
        temporary / "ipc-channel-abcd_123",  # of another implementation's server
    ]
    others[-1].mkdir(0o700)
    shared = leave_stale("in", "out", suffix="shared_1")
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
    full, empty = (
        leave_stale("in", "out", suffix="stranger"),
        leave_stale(suffix="stranger"[::-1]),
    )
    for path in (full / "in", full / "out", full, empty):
        os.chown(path, 12345, 12345)
    sweep()
    assert sorted(os.listdir(full)) == ["in", "out"]
    assert empty.exists()
    shutil.rmtree(full)
    empty.rmdir()


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing there is ever taken for stale."""

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    left = leave_stale("in", "out")
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
