"""Servers that begin, end and are interrupted at the same path at the same time."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from unix_sockets import leave_stale_socket, mode_of, serve

RACER = """
import os, sys
from ipc_channel import make_ipc_channel
os.read(int(sys.argv[2]), 1)  # the end of the pipe, at which all begin at once
try:
    channel = make_ipc_channel(transport="unix", path=sys.argv[1])
except OSError as error:
    print(error.errno, flush=True)
else:
    print("won", flush=True)
    del channel._status  # so no warning
sys.stdin.readline()
"""


@pytest.mark.covers("RDV-68")
def test_of_twenty_that_start_at_once_exactly_one_wins(place: Path) -> None:
    leave_stale_socket(place / "socket")
    reader, writer = os.pipe()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, place / "socket", str(reader)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[reader],
            text=True,
        )
        for _ in range(20)
    ]
    os.close(reader)
    os.close(writer)
    said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
    assert sorted(said) == [str(errno.EADDRINUSE)] * 19 + ["won"]
    for racer in racers:
        racer.communicate()
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-68")
def test_another_server_begins_as_a_stale_socket_is_removed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have found it stale, without the lock, and each removes the other's."""
    leave_stale_socket(place / "socket")
    real = os.unlink
    began: list[str] = []

    def unlink(path: str) -> None:
        if path.endswith("/socket") and not began:
            began.append(path)
            with pytest.raises(OSError, match="a process listens at") as caught:
                serve(path=path)
            assert caught.value.errno == errno.EADDRINUSE
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        server = serve(path=place / "socket")
    assert began
    asyncio.run(server.close())
    assert list(place.iterdir()) == []


def test_a_killed_server_blocks_no_other(place: Path) -> None:
    program = (
        "import os, signal, sys\nfrom ipc_channel import make_ipc_channel\n"
        "channel = make_ipc_channel(transport='unix', path=sys.argv[1])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", program, f"{place}/socket"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert sorted(os.listdir(place)) == ["socket", "socket.lock"]
    server = serve(path=place / "socket")
    asyncio.run(server.close())
    assert list(place.iterdir()) == []


def test_a_link_that_replaces_the_socket_before_it_gets_its_mode(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a directory that others can write to: its target is not given away."""
    target = place / "target"
    target.write_text("precious")
    target.chmod(0o600)
    real = os.chmod

    def late(path: str, mode: int, **options: Any) -> None:
        os.unlink(path)
        os.symlink(target, path)
        real(path, mode, **options)

    monkeypatch.setattr(os, "chmod", late)
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.ELOOP))):
        serve(path=place / "socket", mode=0o666)
    assert mode_of(target) == 0o600


def test_an_exception_right_after_bind_leaves_no_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a signal handler, when bind has made the file."""
    before = open_descriptors()

    class Interrupted(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind(address)
            raise KeyboardInterrupt

    monkeypatch.setattr("socket.socket", Interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        serve(path=place / "socket")
    assert list(place.iterdir()) == []
    assert open_descriptors() == before, caught


def test_a_program_without_a_lock_binds_first(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment after the stale socket was removed."""
    leave_stale_socket(place / "socket")
    other = socket.socket(socket.AF_UNIX)
    real = os.unlink

    def unlink(path: str) -> None:
        real(path)
        monkeypatch.undo()
        if path.endswith("/socket"):
            other.bind(path)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(OSError, match="a process listens at") as caught:
        serve(path=place / "socket")
    assert caught.value.errno == errno.EADDRINUSE
    assert os.listdir(place) == ["socket"]
    other.close()


@pytest.mark.parametrize("where", ["private", "path"])
async def test_an_exception_in_close_leaves_the_rest_to_the_next_close(
    where: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a signal handler, when the socket is about to be removed."""
    before = open_descriptors()
    server = serve() if where == "private" else serve(path=place / "socket")

    def unlink(path: str) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        server._listener.close()  # type: ignore[attr-defined]  # not by close, whose task would end the loop
    await server.close()
    assert list(place.glob("**/socket*")) == []
    assert open_descriptors() == before
