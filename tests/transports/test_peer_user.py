"""Who may come in over TCP."""

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
    Ends,
    OwnerQuery,
    _ask_kernel,
    _open_diag,
    _owner_in,
    _pack,
    _peer_ends,
    _search_tables,
    peer_user,
)
from ipc_channel.transports.tcp_listener import reset
from ipc_channel.users import is_ambiguous, is_our_user
from raw import PATIENCE, dial, eventually, frame, free_port

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
    monkeypatch.setattr(OwnerQuery, "owners", lambda _, socks: [user for _ in socks])
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert not await server.connect(0.02)
    assert await asyncio.to_thread(peer.is_ended)
    who = "that had left already" if user is None else f"of user {user}"
    assert f"port {server.in_path}: turned away 1 peer {who}" in caplog.text
    assert f"turned away 1 peer {who}" in str(server.last_exception)
    peer.close()
    await server.close()


def ask_kernel(sock: socket.socket) -> Any:
    """Ask the kernel alone, whether or not our own end is connected."""
    ends = _peer_ends(sock)
    assert ends is not None
    with _open_diag() as diag:  # type: ignore[union-attr] # on Linux
        return _ask_kernel(diag, ends)


def search_tables(sock: socket.socket) -> int | None:
    ends = _peer_ends(sock)
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
            assert peer_user(server) is None, "a socket that was closed is nobody's"
            assert ask_kernel(server) is None
            assert search_tables(server) is None


def leave_without_a_trace(client: socket.socket) -> None:
    """Close so that the kernel forgets this end soon, though the other one stays."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
    client.close()


async def until_forgotten(sock: socket.socket) -> None:
    """Wait until the kernel has forgotten the peer's end of ``sock``."""
    ends = _peer_ends(sock)
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
        monkeypatch.setattr("ipc_channel.transports.peer_user._open_diag", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = free_port()
        source = ("127.0.0.1", port)
        client = socket.create_connection(listener.getsockname(), source_address=source)
        client.sendall(frame(b"from a stranger"))
        server, _ = listener.accept()
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
        monkeypatch.setattr("ipc_channel.transports.peer_user._open_diag", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = free_port()
        source = ("127.0.0.1", port)
        client = socket.create_connection(listener.getsockname(), source_address=source)
        client.sendall(frame(b"from a stranger"))
        server, _ = listener.accept()
        ends = _peer_ends(server)
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
        ends = Ends(_pack(local[0]), local[1], _pack(remote[0]), remote[1])
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
            patch.setattr("ipc_channel.transports.peer_user._owner_in", keep)
            peer_user(server)
    [(answer, ends)] = answers
    assert _owner_in(answer, ends) == os.geteuid()
    for other in (
        ends._replace(local_port=1),
        ends._replace(remote_port=1),
        ends._replace(local_host=_pack("127.0.0.2")),
        ends._replace(remote_host=_pack("127.0.0.2")),
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

    monkeypatch.setattr("ipc_channel.transports.peer_user._ask_kernel", answer_and_reset)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with server:
            assert peer_user(server) is None


def in_a_user_namespace(code: str, uid_map: str = "0 0 1") -> str:
    """Run ``code`` in a namespace that maps users as told; return what it prints."""
    program = (
        "import os, socket, sys\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "CLONE_NEWUSER = 0x10000000\n"
        "import ctypes\n"
        "if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):\n"
        "    raise OSError(ctypes.get_errno(), 'unshare')\n"
        "sys.argv[1] and open('/proc/self/uid_map', 'w').write(sys.argv[1])\n" + code
    )
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", program, uid_map, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    if "'unshare'" in done.stderr:
        pytest.skip(f"NOT TESTED: no user namespace can be made: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


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
    assert "turned away 1 peer of user 65534" in answer


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
    monkeypatch.setattr(
        "ipc_channel.transports.peer_user._ask_kernel", lambda *_: "unanswered"
    )
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


async def test_the_table_is_not_read_when_the_kernel_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(_: object) -> None:
        raise AssertionError("read the table")

    monkeypatch.setattr("ipc_channel.transports.peer_user._search_tables", read)
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
