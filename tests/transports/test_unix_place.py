"""The socket of a server in its private directory: modes, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from descriptors import no_descriptor_left, open_descriptors
from ipc_channel import BadRendezvousError, make_ipc_channel_client
from ipc_channel.transports import locked_directory
from odd_paths import NAMES, make_long
from other_users import STRANGER, needs_root
from raw import PATIENCE, dial
from unix_sockets import (
    has_session,
    mode_of,
    path_of,
    remove_directory,
    remove_socket,
    serve,
)

UMASKS = [0o000, 0o022, 0o077, 0o177, 0o477, 0o777]


@pytest.mark.covers("RDV-61")
@pytest.mark.parametrize("mask", UMASKS, ids="{:04o}".format)
@pytest.mark.parametrize("others", [False, True])
def test_modes_under_every_umask(mask: int, others: bool) -> None:
    before = os.umask(mask)
    try:
        server = serve(allowed_users=[STRANGER] if others else [])
        remove_socket(server)  # the one that is made anew has the same
        assert not asyncio.run(server.connect(0))
    finally:
        os.umask(before)
    path = path_of(server)
    assert mode_of(path) == (0o666 if others else 0o600)
    assert mode_of(path.parent) == (0o711 if others else 0o700)
    asyncio.run(server.close())
    assert not path.parent.exists()


@pytest.mark.covers("RDV-61")
async def test_it_listens_from_construction_to_close() -> None:
    server = serve()
    early = dial(server.in_path, server.in_path)
    assert await server.connect(PATIENCE)
    early.close()
    await server.close()
    assert not os.path.lexists(path_of(server))


PROGRAM = """
import os, signal, sys, tempfile
from ipc_channel import make_ipc_channel
tempfile.tempdir = sys.argv[1]
channel = make_ipc_channel(transport="unix")
assert os.listdir(sys.argv[1]) == [os.path.basename(os.path.dirname(channel.in_path))]
del channel._status  # so no warning: this is about the end of the process
"""


@pytest.mark.covers("RDV-70")
def test_it_is_gone_when_the_interpreter_exits(place: Path) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, place], check=True)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("others", [False, True])
def test_it_is_swept_after_a_kill(others: bool, place: Path) -> None:
    if others:
        program = PROGRAM.replace('"unix"', f'"unix", allowed_users=[{STRANGER}]')
    else:
        program = PROGRAM
    program += "os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", program, place], check=False)
    assert killed.returncode == -signal.SIGKILL
    (stale,) = place.iterdir()
    assert [one.name for one in stale.iterdir()] == ["socket"]
    locked_directory._next_sweep.clear()
    server = serve()
    assert list(place.iterdir()) == [path_of(server).parent]
    asyncio.run(server.close())


async def test_a_living_one_is_not_swept() -> None:
    servers = [serve(allowed_users=[STRANGER])]
    locked_directory._next_sweep.clear()
    servers.append(serve())
    for server in servers:
        await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
        await server.close()


@pytest.mark.covers("RDV-70")
async def test_close_leaves_a_file_that_replaced_the_socket() -> None:
    server = serve()
    path = path_of(server)
    path.unlink()
    path.write_text("precious")
    await server.close()
    assert path.read_text() == "precious"
    path.unlink()
    path.parent.rmdir()


def test_an_exception_of_a_signal_handler_as_the_file_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Raised when bind has made the file, and nothing after bind has run."""
    before = open_descriptors()
    made: list[str] = []

    class Interrupted(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind(address)
            made.append(address)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("socket.socket", Interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            serve()
    assert made
    assert not Path(made[0]).parent.exists()
    assert open_descriptors() == before, caught


@needs_root
async def test_long_temporary_directories(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The session's directory, or else /tmp, takes the place of one that is too long."""
    caplog.set_level(logging.DEBUG)
    usual, session = make_long(place, 103 - 31 + 1), Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", usual)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    server = serve()
    assert path_of(server).parents[1] == session
    assert f"{usual!r} is too long" in caplog.text
    assert f"using {str(session)!r}" in caplog.text
    await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
    await server.close()
    assert list(session.iterdir()) == []
    server = serve(allowed_users=[STRANGER])  # who cannot enter the session's directory
    assert path_of(server).parents[1] == Path("/tmp")
    await server.close()
    os.chown(session, STRANGER, -1)  # as sudo may leave it
    for value in (str(session), "", "relative", "/nowhere"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        server = serve()
        assert path_of(server).parents[1] == Path("/tmp")
        await server.close()
    session.rmdir()


async def test_the_longest_temporary_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = make_long(place, 103 - 31)
    monkeypatch.setattr(tempfile, "tempdir", usual)
    server = serve()
    assert len(os.fsencode(path_of(server))) == 103
    assert str(path_of(server)).startswith(usual)
    await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
    await server.close()


def test_no_temporary_directory_is_short_enough(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", make_long(place, 103 - 31 + 1))
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(OSError, match=r"in '/.*': File name too long; set TMPDIR"):
        serve()


@pytest.mark.covers("RDV-36")
@pytest.mark.parametrize("name", NAMES)
async def test_odd_names(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = os.path.join(os.fsencode(place), NAMES[name])
    os.mkdir(directory)
    monkeypatch.setattr(tempfile, "tempdir", os.fsdecode(directory))
    server = serve()
    await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
    await server.close()
    assert os.listdir(directory) == []


@pytest.mark.parametrize("left", range(4))
async def test_no_descriptor_is_free(left: int, place: Path) -> None:
    """Whichever step finds none: nothing is left, and a channel can be made later."""
    try:
        with no_descriptor_left(but=left):
            server = serve()
    except OSError as error:
        assert "no descriptor is free: close some, or raise ulimit -n" in str(error)
        assert left < 3
        server = serve()
        await asyncio.sleep(0)
    assert len(list(place.iterdir())) == 1
    await server.close()
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-61")
async def test_allowing_our_own_user_opens_nothing() -> None:
    server = serve(allowed_users=[os.geteuid()])
    assert mode_of(path_of(server)) == 0o600
    assert mode_of(path_of(server).parent) == 0o700
    await server.close()


@pytest.mark.covers("RDV-69")
async def test_a_directory_whose_mode_was_changed() -> None:
    server = serve()
    path_of(server).parent.chmod(0o755)
    assert not await server.connect(0), "nothing is to be made"
    remove_socket(server)
    with pytest.raises(BadRendezvousError, match="has mode 0755, not 0700"):
        await server.connect(PATIENCE)
    await server.close()


async def test_no_descriptor_is_free_to_make_it_anew(place: Path) -> None:
    server = serve()
    remove_directory(server)
    for left in range(3):
        with no_descriptor_left(but=left), contextlib.suppress(OSError):
            await server.connect(0)
        assert len(list(place.iterdir())) <= 1
    await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
    await server.close()
    assert list(place.iterdir()) == []
