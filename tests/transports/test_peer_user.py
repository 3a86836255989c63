"""Which users may connect over TCP."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipc_channel import (
    TCPSocketChannel,
    make_ipc_channel,
)
from ipc_channel.transports.peer_user import (
    OwnerQuery,
    peer_user,
)
from ipc_channel.users import is_ambiguous, is_our_user
from other_users import STRANGER, in_a_user_namespace, needs_root
from raw import PATIENCE, dial, frame


@pytest.mark.covers("RDV-42")
@needs_root
@pytest.mark.parametrize("allowed", [False, True])
async def test_another_user(allowed: bool) -> None:
    server = make_ipc_channel(transport="tcp", allowed_users=[STRANGER] if allowed else [])
    code = (
        f"import os, socket, sys; os.setuid({STRANGER});"
        "s = socket.socket(); s.connect(('127.0.0.1', int(sys.argv[1])));"
        "s.sendall(b'\\0\\0\\0\\1s'); print(s.recv(100))"
    )
    stranger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, server.in_path, stderr=subprocess.DEVNULL
    )
    connecting = asyncio.create_task(server.connect(PATIENCE))
    if allowed:
        assert await connecting
        assert await server.read() == b"s"
        await server.close()
        assert await stranger.wait() == 0
        return
    assert await stranger.wait() != 0, "it was reset"
    assert not connecting.done(), "waiting goes on"
    peer = dial(server.in_path, server.in_path)
    assert await connecting
    peer.send(frame(b"one of us"))
    assert await server.read() == b"one of us"
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-42")
@pytest.mark.parametrize("user", [STRANGER, None, 0])
async def test_who_may_enter(
    user: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if user == os.geteuid():
        user = STRANGER + 1
    monkeypatch.setattr(OwnerQuery, "owners", lambda _, socks: [user for _ in socks])
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert not await server.connect(0.02)
    assert await asyncio.to_thread(peer.is_ended)
    who = "that disconnected before being accepted" if user is None else f"of user {user}"
    assert f"port {server.in_path}: refused 1 peer {who}" in caplog.text
    assert f"refused 1 peer {who}" in str(server.last_exception)
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-38")
def test_an_unmapped_user_is_never_taken_for_our_own() -> None:
    own = os.geteuid()
    code = (
        "from ipc_channel.users import is_our_user, is_ambiguous\n"
        "print(os.geteuid(), is_our_user(os.geteuid()), is_ambiguous(65534))"
    )
    assert in_a_user_namespace(code, f"0 {own} 1") == "0 True True"
    assert in_a_user_namespace(code, "") == "65534 False True"
    # A user of the namespace may have the number that strangers are shown with.
    assert in_a_user_namespace(code, f"65534 {own} 1") == "65534 False True"


def test_all_users_are_mapped_here() -> None:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if sum(int(line.split()[2]) for line in file) < 2**32 - 1:
            pytest.skip("NOT TESTED: this is a user namespace of its own")
    assert not is_ambiguous(65534)
    assert is_our_user(os.geteuid())
    assert not is_our_user(os.geteuid() + 1)


@needs_root
@pytest.mark.covers("RDV-38", "RDV-42")
async def test_a_stranger_in_a_user_namespace_without_our_user() -> None:
    code = (
        "import asyncio, ipc_channel\n"
        "async def main():\n"
        "    server = ipc_channel.make_ipc_channel(transport='tcp')\n"
        "    peer = socket.create_connection(('127.0.0.1', int(server.in_path)))\n"
        "    print(await server.connect(0.05), server.last_exception)\n"
        "    peer.close()\n"
        "    await server.close()\n"
        "asyncio.run(main())"
    )
    answer = in_a_user_namespace(code, "")
    assert answer.startswith("False")
    assert "refused 1 peer of user 65534" in answer


@pytest.mark.covers("RDV-38")
def test_pipes_of_an_unmapped_user_are_refused(tmp_path: Path) -> None:
    for name in ("in", "out"):
        os.mkfifo(tmp_path / name)
    code = (
        "import asyncio, ipc_channel\n"
        "async def refused(channel):\n"
        "    try:\n"
        "        print(await channel.connect(0))\n"
        "    except ipc_channel.BadRendezvousError as error:\n"
        "        print(error)\n"
        "    await channel.close()\n"
        "asyncio.run(refused(ipc_channel.make_ipc_channel()))\n"
        f"paths = {str(tmp_path / 'in')!r}, {str(tmp_path / 'out')!r}\n"
        "asyncio.run(refused(ipc_channel.make_ipc_channel_client(*paths)))\n"
    )
    refused = in_a_user_namespace(code, "").splitlines()
    assert len(refused) == 2
    assert all("stands for every user" in line for line in refused), refused


async def test_the_user_is_looked_up_when_somebody_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service may give up its privileges after it has made its channel."""
    server = TCPSocketChannel()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: STRANGER)
        early = dial(server.in_path, server.in_path)
        assert not await server.connect(0)
        early.close()
        patch.setattr(OwnerQuery, "owners", lambda _, socks: [STRANGER for _ in socks])
        peer = dial(server.in_path, server.in_path)
        assert await server.connect(PATIENCE)
        peer.close()
    await server.close()


@pytest.mark.parametrize(
    "users", ["root", [1.5], ["no-such-user"], [b"root"], 5, None, [-1], [2**32 - 1]]
)
def test_impossible_users(users: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="allowed_users"):
        TCPSocketChannel(allowed_users=users)


def test_users_that_are_out_of_range() -> None:
    with pytest.raises(ValueError, match=f"has {2**32 - 1}, not within 0 and {2**32 - 2}$"):
        TCPSocketChannel(allowed_users=[2**32 - 1])


async def test_possible_users() -> None:
    server = TCPSocketChannel(allowed_users=[0, 2**32 - 2])
    await server.close()


def test_users_need_a_transport_that_knows_them() -> None:
    with pytest.raises(ValueError, match="allowed_users needs transport='unix' or 'tcp'"):
        make_ipc_channel(transport="named_pipe", allowed_users=[1])


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_want_of_our_own_is_told(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server, monkeypatch.context() as patch:
            patch.setattr(socket, "socket", full)
            patch.setattr("builtins.open", full)
            with pytest.raises(OSError, match=os.strerror(code)):
                peer_user(server)
