"""Who may come in over a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipc_channel import make_ipc_channel_client
from ipc_channel.transports.credentials import CredentialsQuery
from other_users import STRANGER, in_a_user_namespace, needs_root
from raw import PATIENCE, dial, eventually, frame
from unix_sockets import (
    REFUSED,
    begin_visit,
    mode_of,
    path_of,
    serve,
    serves_a_visitor,
    visit,
)

NOBODY = pwd.getpwnam("nobody").pw_uid


@needs_root
@pytest.mark.covers("RDV-64")
async def test_a_stranger_is_refused_whatever_the_modes(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    path = path_of(server)
    assert not await server.connect(0)
    path.chmod(0o666)
    path.parent.chmod(0o711)
    assert await visit(path) <= REFUSED
    await eventually(lambda: "refused" in caplog.text)
    assert f"{path}: refused 1 peer of user {STRANGER}" in caplog.text
    path.parent.chmod(0o700)
    peer = dial(server.in_path, server.in_path)
    assert await server.connect(PATIENCE)
    peer.close()
    await server.close()


@needs_root
@pytest.mark.covers("RDV-64")
async def test_a_stranger_is_refused_while_connect_waits(place: Path) -> None:
    server = serve(path=place / "socket", mode=0o666)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    assert await visit(path_of(server)) <= REFUSED
    assert not connecting.done(), "waiting goes on"
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"one of us"))
    assert await connecting
    assert await server.read() == b"one of us"
    peer.close()
    await server.close()


@needs_root
@pytest.mark.covers("RDV-61", "RDV-64")
@pytest.mark.parametrize("where", ["private", "path"])
@pytest.mark.parametrize("users", [[STRANGER, NOBODY], [STRANGER, "nobody"]])
async def test_other_users_that_are_allowed(
    where: str, users: list[int | str], place: Path
) -> None:
    options: Any = {} if where == "private" else {"path": place / "socket"}
    server = serve(allowed_users=users, **options)
    path = path_of(server)
    assert mode_of(path) == 0o666
    assert mode_of(path.parent) == (0o711 if where == "private" else 0o755)
    for user in (STRANGER, NOBODY, os.geteuid()):
        await serves_a_visitor(server, path, user)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    assert await visit(path, STRANGER + 1) <= REFUSED
    assert not connecting.done()
    await server.close()
    assert await connecting is False


WITHOUT_RIGHTS = """
import asyncio, os, sys, tempfile
from ipc_channel import make_ipc_channel
tempfile.tempdir = sys.argv[1]
async def main():
    options = {"path": f"{sys.argv[1]}/socket"} if sys.argv[3] == "path" else {}
    user = int(sys.argv[2])
    server = make_ipc_channel(transport="unix", allowed_users=[user], **options)
    os.setgroups([])
    os.setuid(user)
    print(server.in_path, flush=True)
    for _ in range(2):
        assert await server.connect(60)
        await server.write(await server.read())
        assert await server.read() is None
    await server.close()
asyncio.run(main())
"""


@needs_root
@pytest.mark.covers("RDV-64")
@pytest.mark.parametrize("where", ["private", "path"])
async def test_a_service_that_has_given_up_its_rights(where: str, place: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_RIGHTS, str(place), str(STRANGER), where]
    service = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert service.stdout
    path = (await service.stdout.readline()).decode().strip().removeprefix("unix:")
    for _ in range(2):
        assert await visit(path, STRANGER) == {repr(frame(b"hello")).encode()}
    await service.communicate()
    assert service.returncode == 0
    shutil.rmtree(place)  # what an ordinary user could not remove
    place.mkdir()


@needs_root
async def test_a_mode_that_keeps_an_allowed_user_out(place: Path) -> None:
    server = serve(path=place / "socket", mode=0o600, allowed_users=[STRANGER])
    visitor = await begin_visit(path_of(server))
    assert await visitor.wait() != 0
    assert not await server.connect(0.01)
    await server.close()


@pytest.mark.parametrize("name", ["no-such-user", "", "a\0b", "\ud800"])
def test_a_user_that_does_not_exist(name: str, place: Path) -> None:
    expected = re.escape(f"allowed_users has {name!r}, which is no user of this system")
    with pytest.raises(ValueError, match=expected):
        serve(allowed_users=[0, name])
    with pytest.raises(ValueError, match=expected):
        make_ipc_channel_client("unix:/x", "unix:/x", allowed_users=[name])
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-64")
@pytest.mark.parametrize("user", [STRANGER, None])
async def test_who_may_enter(
    user: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(CredentialsQuery, "owners", lambda _, socks: [user for _ in socks])
    server = serve()
    peer = dial(server.in_path, server.in_path)
    assert not await server.connect(0.02)
    assert await asyncio.to_thread(peer.is_ended)
    who = "that disconnected before being accepted" if user is None else f"of user {user}"
    assert f"refused 1 peer {who}" in caplog.text
    assert f"refused 1 peer {who}" in str(server.last_exception)
    peer.close()
    await server.close()


@needs_root
@pytest.mark.covers("RDV-71")
@pytest.mark.usefixtures("many_descriptors")
async def test_a_flood_of_strangers_keeps_no_helper_out(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ipc_channel.transports.refusals._INTERVAL", 1000.0)
    server = serve(path=place / "socket", mode=0o666)
    batches: list[int] = []
    accept_some = server._listener._accept_some  # type: ignore[attr-defined]  # looks inside

    def counted() -> Any:
        socks = accept_some()
        batches.append(len(socks))
        return socks

    monkeypatch.setattr(server._listener, "_accept_some", counted)  # type: ignore[attr-defined]
    floods = [await begin_visit(path_of(server), count=500) for _ in range(3)]
    try:
        assert not await server.connect(0)
        await eventually(lambda: sum(batches) > 100)  # between two sessions, too
        connecting = asyncio.create_task(server.connect(PATIENCE))
        peer = await asyncio.to_thread(dial, server.in_path, server.in_path)
        peer.send(frame(b"among them"))
        assert await connecting
        assert await server.read() == b"among them"
    finally:
        for flood in floods:
            with contextlib.suppress(ProcessLookupError):
                flood.kill()
            await flood.communicate()
    peer.close()
    assert max(batches) <= 16
    await server.close()
    assert len([one for one in caplog.records if "refused" in one.getMessage()]) <= 2


@needs_root
@pytest.mark.covers("RDV-38", "RDV-64", "RDV-65")
def test_no_user_is_ours_in_a_namespace_that_maps_none() -> None:
    code = (
        "import asyncio, ipc_channel\n"
        "async def main():\n"
        "    server = ipc_channel.make_ipc_channel(transport='unix')\n"
        "    peer = socket.socket(socket.AF_UNIX)\n"
        "    peer.connect(server.in_path[5:])\n"
        "    try:\n"
        "        print(await server.connect(0.05), server.last_exception)\n"
        "    except ipc_channel.BadRendezvousError as error:\n"
        "        print(error)\n"
        "    peer.close()\n"
        "    client = ipc_channel.make_ipc_channel_client(server.out_path, server.in_path)\n"
        "    try:\n"
        "        print(await client.connect(0))\n"
        "    except ipc_channel.BadRendezvousError as error:\n"
        "        print(error)\n"
        "    await client.close()\n"
        "    await server.close()\n"
        "asyncio.run(main())"
    )
    ours, theirs = in_a_user_namespace(code, "").splitlines()
    assert "stands for every user" in ours or "refused 1 peer of user 65534" in ours
    assert "belongs to user 65534, not to this user (65534) or root" in theirs


async def test_a_peer_is_not_lost_because_another_could_not_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether 65534 is one user may need a descriptor, when none is free."""
    server: Any = serve()
    peers = [dial(server.in_path, server.in_path) for _ in range(2)]
    peers[0].send(frame(b"the first"))
    gate = server._listener._gate
    asked: list[int] = []

    def may_enter(user: int) -> bool:
        asked.append(user)
        if len(asked) == 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return True

    monkeypatch.setattr(
        server._listener, "_gate", dataclasses.replace(gate, may_enter=may_enter)
    )
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        await server.connect(PATIENCE)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"the first"
    for peer in peers:
        peer.close()
    await server.close()
