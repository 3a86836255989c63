"""Who may come in over TCP."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from ipc_channel import (
    TCPSocketChannel,
    make_ipc_channel,
)
from ipc_channel.peer_user import _ask_kernel, _search_table, peer_user
from raw import PATIENCE, dial, frame

STRANGER = 12345
"""A user id that is not ours."""


needs_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="NOT TESTED: a process of another user needs root to start; "
    "the same rule is checked without one by test_who_may_enter",
)


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
    monkeypatch.setattr("ipc_channel.tcp_listener.peer_user", lambda _: user)
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert not await server.connect(0.02)
    assert await asyncio.to_thread(peer.is_ended)
    who = "that has left already" if user is None else f"of user {user}"
    assert f"port {server.in_path}: turned away a peer {who}" in caplog.text
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-42")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_whose_a_socket_is(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
        with server:
            ends = server.getpeername(), server.getsockname()
            assert peer_user(server) == os.geteuid()
            # Both ways of asking agree; the second is for kernels without the first.
            assert _ask_kernel(family, *ends) == os.geteuid()
            assert _search_table(family, *ends) == os.geteuid()
            client.close()
            assert peer_user(server) is None, "a socket that was closed is nobody's"
            assert _search_table(family, *ends) is None
            nobodys = ends[0], (*ends[1][:1], 1, *ends[1][2:])
            assert _ask_kernel(family, *nobodys) is None, "an error tells no user"


@pytest.mark.parametrize("users", ["root", [1.5], ["root"], 5, None, [-1], [2**32 - 1]])
def test_impossible_users(users: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="allowed_users"):
        TCPSocketChannel(allowed_users=users)


def test_users_that_are_out_of_range() -> None:
    with pytest.raises(ValueError, match=f"has {2**32 - 1}, not within 0 and {2**32 - 2}$"):
        TCPSocketChannel(allowed_users=[2**32 - 1])


async def test_possible_users() -> None:
    server = TCPSocketChannel(allowed_users=[0, 2**32 - 2])
    await server.close()


def test_users_need_tcp() -> None:
    with pytest.raises(ValueError, match="allowed_users needs transport='tcp'"):
        make_ipc_channel(transport="named_pipe", allowed_users=[1])


def test_whose_a_socket_is_without_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipc_channel.peer_user._ask_kernel", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            assert peer_user(server) == os.geteuid()


def test_a_socket_without_a_peer_is_nobodys() -> None:
    with socket.socket() as sock:
        assert peer_user(sock) is None


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


def test_nobody_can_tell_where_nothing_may_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server, monkeypatch.context() as patch:
            patch.setattr(socket, "socket", denied)
            assert peer_user(server) == os.geteuid(), "the table tells"
            patch.setattr("builtins.open", denied)
            assert peer_user(server) is None


@needs_root
def test_whose_a_socket_of_another_user_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = (
            f"import os, socket, sys; os.setuid({STRANGER});"
            "s = socket.socket(); s.connect(('127.0.0.1', int(sys.argv[1]))); s.recv(1)"
        )
        port = str(listener.getsockname()[1])
        with subprocess.Popen([sys.executable, "-c", code, port]) as stranger:
            server, _ = listener.accept()
            with server:
                ends = server.getpeername(), server.getsockname()
                assert _ask_kernel(socket.AF_INET, *ends) == STRANGER
                assert _search_table(socket.AF_INET, *ends) == STRANGER
        assert stranger.returncode == 0
