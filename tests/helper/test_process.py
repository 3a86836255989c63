"""Processes as the system gives them: numbers that are used again, and old kernels."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import used_numbers
from descriptors import no_descriptor_left, open_descriptors
from helper_programs import BEHAVES, DEAF, DIES, IGNORES, told, with_child
from ipc_channel import Helper, HelperError, make_ipc_channel
from ipc_channel.helper import posix_process
from process_tree import children, kill_if_alive, lives
from raw import PATIENCE, eventually

LINUX = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))


@contextlib.contextmanager
def handled(number: int, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


async def test_a_service_that_ignores_its_children(transport: Any) -> None:
    """The kernel reaps them, and nothing knows how they ended."""
    with handled(signal.SIGCHLD, signal.SIG_IGN):
        helper = Helper(BEHAVES, make_ipc_channel(transport=transport))
        await helper.start()
        assert await helper.stop() == 255
        dies = Helper(DIES, make_ipc_channel(transport=transport), timeout=PATIENCE)
        with pytest.raises(HelperError, match="another part of this service reaped it"):
            await dies.start()
        await dies.stop()


async def test_a_service_that_reaps_whatever_ends(transport: Any) -> None:
    helper = Helper(with_child(""), make_ipc_channel(transport=transport), grace=0.05)
    left = await told(await helper.start())
    pid = helper.process.pid
    helper.process.kill()
    assert os.waitpid(-1, 0)[0] == pid  # noqa: ASYNC222
    assert await helper.process.wait() == 255
    assert await helper.stop() == 255
    if LINUX >= (6, 9):  # before, a group is known by its number only
        assert not lives(left)
    kill_if_alive(left)


def _may_have_a_namespace() -> bool:
    try:
        subprocess.run([*used_numbers.NAMESPACE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@pytest.mark.skipif(
    not _may_have_a_namespace(),
    reason="NOT TESTED: only root makes a namespace of processes",
)
@pytest.mark.parametrize("case", used_numbers.CASES)
def test_a_number_that_belongs_to_another_process_is_not_signalled(
    case: str, transport: str
) -> None:
    program = [sys.executable, used_numbers.__file__, case, transport]
    init = ["sh", "-c", '"$@"; exit', "sh"]  # the first process ignores most signals
    done = subprocess.run(
        [*used_numbers.NAMESPACE, *init, *program],
        capture_output=True,
        text=True,
        check=False,
    )
    said = "the other process was left alone\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr


@pytest.fixture(params=["no pidfd", "no group by pidfd", "no waitid by pidfd", "no waitid"])
def old_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What older kernels lack."""

    def refuse(*args: Any) -> Any:
        raise OSError(errno.ENOSYS, "as an old kernel says")

    send, wait = signal.pidfd_send_signal, os.waitid

    def send_to_one(fd: int, number: int, info: Any = None, flags: int = 0) -> None:
        if flags:
            raise OSError(errno.EINVAL, "as an old kernel says")
        send(fd, number)

    def wait_by_number(kind: int, which: int, options: int) -> Any:
        if kind == os.P_PIDFD:
            raise OSError(errno.EINVAL, "as an old kernel says")
        return wait(kind, which, options)

    if request.param in {"no pidfd", "no waitid"}:
        monkeypatch.setattr(os, "pidfd_open", refuse)
        if request.param == "no waitid":  # macOS before Python 3.13
            monkeypatch.delattr(os, "waitid")
    elif request.param == "no group by pidfd":
        monkeypatch.setattr(signal, "pidfd_send_signal", send_to_one)
    else:
        monkeypatch.setattr(os, "waitid", wait_by_number)
    return str(request.param)


async def test_older_systems(transport: Any, old_system: str) -> None:
    before = open_descriptors()
    helper = Helper(with_child(""), make_ipc_channel(transport=transport), grace=0.05)
    left = await told(await helper.start())
    helper.process.kill()
    assert await helper.process.wait() == -signal.SIGKILL
    again = await told(await helper.start())
    await helper.channel.close()
    await helper.process.wait()  # by itself, however long a slow machine takes for that
    await helper.stop()
    for pid in (left, again):
        # To look at the helper is to reap it there, and its number may be another's then.
        assert lives(pid) == (old_system == "no waitid")
        kill_if_alive(pid)
    stopped = Helper(IGNORES, make_ipc_channel(transport=transport), grace=0.05)
    assert await (await stopped.start()).read() == b"deaf"
    assert await stopped.stop() == -signal.SIGKILL
    dies = Helper(DIES, make_ipc_channel(transport=transport), timeout=PATIENCE)
    with pytest.raises(HelperError, match="ended with status 3"):
        await dies.start()
    await dies.stop()
    assert open_descriptors() == before


async def test_without_a_descriptor_a_helper_and_its_group_are_ended(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the group lives cannot be looked at then."""
    monkeypatch.setattr("ipc_channel.helper.helper_process._SETTLE", 0.1)
    helper = Helper(with_child(DEAF), make_ipc_channel(transport=transport), grace=0.05)
    left = await told(await helper.start())
    pid = helper.process.pid
    await helper.channel.close()
    await helper.process.wait()
    with no_descriptor_left():
        assert await helper.stop() == 0
    await eventually(lambda: not lives(left))
    assert pid not in children()


async def test_a_member_of_a_group_that_cannot_be_looked_at_may_live(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str) -> bool:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    helper = Helper(with_child(""), make_ipc_channel(transport=transport), grace=0.05)
    await told(await helper.start())
    with monkeypatch.context() as patch:
        patch.setattr(posix_process, "_lives", full)
        assert helper.process._child.group_lives()
    await helper.stop()
    assert not helper.process._child.group_lives()


def test_importing_where_there_is_no_posix() -> None:
    code = """
import asyncio, logging, os, signal, socket, subprocess, sys, tempfile
for module, names in (
    (os, "killpg getpgid pidfd_open waitid waitpid posix_spawn P_PIDFD P_PID WEXITED WNOHANG "
         "WNOWAIT CLD_EXITED POSIX_SPAWN_OPEN mkfifo"),
    (signal, "SIGKILL SIGSTOP SIGPIPE SIGXFSZ SIGHUP pthread_sigmask pidfd_send_signal"),
):
    for name in names.split():
        delattr(module, name)
sys.platform = "win32"
import ipc_channel
from ipc_channel.helper.helper_process import _KILL
assert _KILL == signal.SIGTERM
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
