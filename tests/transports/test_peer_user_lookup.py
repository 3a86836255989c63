"""The owner of a socket: queried from the kernel, or looked up in its tables."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from ipc_channel.transports.owner_linux import (
    _ask_kernel,
    _open_diag,
    _owner_in,
    _search_tables,
)
from ipc_channel.transports.peer_user import peer_user
from ipc_channel.transports.tcp_ends import Ends, pack, peer_ends
from ipc_channel.transports.tcp_listener import reset
from other_users import STRANGER, needs_root
from raw import eventually, frame, free_port


def ask_kernel(sock: socket.socket) -> Any:
    """Ask the kernel alone, whether or not our own end is connected."""
    ends = peer_ends(sock)
    assert ends is not None
    with _open_diag() as diag:  # type: ignore[union-attr] # on Linux
        return _ask_kernel(diag, ends)


def search_tables(sock: socket.socket) -> int | None:
    ends = peer_ends(sock)
    assert ends is not None
    return _search_tables({ends}).get(ends)


@pytest.mark.covers("RDV-42")
@pytest.mark.parametrize(
    ("listening", "family", "host"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("::1", socket.AF_INET6, "::1"),
        ("127.0.0.1", socket.AF_INET6, "::ffff:127.0.0.1"),
        ("::", socket.AF_INET, "127.0.0.1"),
        ("::", socket.AF_INET6, "::ffff:127.0.0.1"),
    ],
)
def test_whose_a_socket_is(listening: str, family: socket.AddressFamily, host: str) -> None:
    server_family = socket.AF_INET6 if ":" in listening else socket.AF_INET
    with (
        socket.create_server(
            (listening, 0), family=server_family, dualstack_ipv6=listening == "::"
        ) as listener,
        socket.socket(family) as client,
    ):
        client.connect((host, listener.getsockname()[1]))
        server, _ = listener.accept()
        with server:
            assert peer_user(server) == os.geteuid()
            # Both ways of asking agree; the second is for kernels without the first.
            assert ask_kernel(server) == os.geteuid()
            assert search_tables(server) == os.geteuid()
            client.shutdown(socket.SHUT_WR)
            assert peer_user(server) == os.geteuid(), "half-closed, but held"
            assert search_tables(server) == os.geteuid()
            client.close()
            assert peer_user(server) is None, "no process owns a closed socket"
            assert ask_kernel(server) is None
            assert search_tables(server) is None


def stranger_at(port: int, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Connect from ``port``, and send; return both ends."""
    source = ("127.0.0.1", port)
    client = socket.create_connection(listener.getsockname(), source_address=source)
    client.sendall(frame(b"from a stranger"))
    return client, listener.accept()[0]


def leave_without_a_trace(client: socket.socket) -> None:
    """Close so that the kernel forgets this end soon, though the other one stays."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
    client.close()


async def until_forgotten(sock: socket.socket) -> None:
    """Wait until the kernel has forgotten the peer's end of ``sock``."""
    ends = peer_ends(sock)
    assert ends is not None
    row = f":{ends.local_port:04X} 0100007F:{ends.remote_port:04X} "

    def is_forgotten() -> bool:
        with open("/proc/net/tcp", encoding="ascii") as table:
            return row not in table.read()

    await eventually(is_forgotten)


@pytest.mark.covers("RDV-42", "RDV-50")
@pytest.mark.parametrize("way", ["sock_diag", "table"])
async def test_a_listener_on_the_port_of_a_peer_that_left_does_not_vouch_for_it(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's look-up of a connection that is gone falls back to a listener."""
    if way == "table":
        monkeypatch.setattr("ipc_channel.transports.owner_linux._open_diag", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = free_port()
        client, server = stranger_at(port, listener)
        leave_without_a_trace(client)
        with server:
            await until_forgotten(server)
            with socket.socket() as ours:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                ours.bind(("127.0.0.1", port))
                ours.listen()
                assert peer_user(server) is None


@pytest.mark.covers("RDV-42", "RDV-50")
@pytest.mark.parametrize("way", ["sock_diag", "table"])
async def test_a_later_connection_from_the_same_port_does_not_vouch(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new connection with the same addresses resets ours, but not what it brought."""
    if way == "table":
        monkeypatch.setattr("ipc_channel.transports.owner_linux._open_diag", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = free_port()
        client, server = stranger_at(port, listener)
        ends = peer_ends(server)
        assert ends is not None
        leave_without_a_trace(client)
        with server, socket.socket() as ours:
            await until_forgotten(server)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ours.bind(("127.0.0.1", port))
            ours.setblocking(False)
            ours.connect_ex(listener.getsockname())
            # It only begins to connect: the kernel asks our old end first.
            assert peer_user(server) is None
            await asyncio.get_running_loop().sock_connect(ours, listener.getsockname())
            assert _search_tables({ends}) == {ends: os.geteuid()}, "there is such a socket"
            assert peer_user(server) is None, "but it is not the peer of this one"
            assert server.recv(100) == frame(b"from a stranger")


@pytest.mark.covers("RDV-42", "RDV-50")
def test_a_socket_that_only_begins_to_connect_does_not_vouch() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())  # the queue is full from now on
        second.setblocking(False)
        second.connect_ex(listener.getsockname())
        local, remote = second.getsockname(), listener.getsockname()
        ends = Ends(pack(local[0]), local[1], pack(remote[0]), remote[1])
        with _open_diag() as diag:  # type: ignore[union-attr] # on Linux
            assert _ask_kernel(diag, ends) is None
        assert _search_tables({ends}) == {}


@pytest.mark.covers("RDV-42", "RDV-50")
def test_an_answer_about_other_ends_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[tuple[bytes, Ends]] = []

    def keep(answer: bytes, wanted: Ends) -> int | None:
        answers.append((answer, wanted))
        return None

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server, monkeypatch.context() as patch:
            patch.setattr("ipc_channel.transports.owner_linux._owner_in", keep)
            peer_user(server)
    [(answer, ends)] = answers
    assert _owner_in(answer, ends) == os.geteuid()
    for other in (
        ends._replace(local_port=1),
        ends._replace(remote_port=1),
        ends._replace(local_host=pack("127.0.0.2")),
        ends._replace(remote_host=pack("127.0.0.2")),
    ):
        assert _owner_in(answer, other) is None


@pytest.mark.covers("RDV-42", "RDV-50")
def test_an_answer_does_not_count_once_our_own_end_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then another connection may have had the same ends when the kernel was asked."""

    def answer_and_reset(*arguments: Any) -> Any:
        answer = _ask_kernel(*arguments)
        reset(client)
        return answer

    monkeypatch.setattr("ipc_channel.transports.owner_linux._ask_kernel", answer_and_reset)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with server:
            assert peer_user(server) is None


def test_whose_a_socket_is_without_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ipc_channel.transports.owner_linux._ask_kernel", lambda *_: "unanswered"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            assert peer_user(server) == os.geteuid()


def test_a_socket_without_a_peer_is_nobodys() -> None:
    with socket.socket() as sock:
        assert peer_user(sock) is None


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


async def test_the_table_is_not_read_when_the_kernel_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(_: object) -> None:
        raise AssertionError("read the table")

    monkeypatch.setattr("ipc_channel.transports.owner_linux._search_tables", read)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with server:
            assert peer_user(server) == os.geteuid()
            leave_without_a_trace(client)
            await until_forgotten(server)
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
                assert ask_kernel(server) == STRANGER
                assert search_tables(server) == STRANGER
        assert stranger.returncode == 0
