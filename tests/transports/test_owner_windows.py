"""Whose a socket is on Windows, by what Windows answers.

The answers are made up, on Windows too, which has no second user for a test.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from typing import Any

import pytest

from fake_windows import (
    OTHER,
    OURS,
    PEER,
    TIME,
    TIME_WAIT,
    Windows,
    row,
)
from ipc_channel import TCPSocketChannel
from ipc_channel.options import check_users
from ipc_channel.transports.owner_windows import WindowsOwners
from ipc_channel.transports.peer_user import peer_user
from ipc_channel.windows import accounts, tcp_table
from ipc_channel.windows.accounts import ProcessUser, sid_of, sid_text
from wine import IS_WINE

SYSTEM = "S-1-5-18"
PATIENCE = 60.0
Pair = tuple[socket.socket, socket.socket]


def is_reset(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b"" and IS_WINE  # wine.NO_RESET
    except ConnectionResetError:
        return True


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    """Pretend to run on Windows, which answers as told."""
    answers = Windows()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(tcp_table, "read_tcp_table", answers.read_tcp_table)
    monkeypatch.setattr(accounts, "user_of_process", answers.user_of_process)
    return answers


@pytest.fixture
def pair() -> Any:
    """The two ends of a connection, the server's first."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
    ):
        yield server, client


@pytest.mark.covers("RDV-42", "RDV-50")
@pytest.mark.parametrize(
    ("user", "told"),
    [
        (ProcessUser(OURS, TIME - 1), "is let in"),
        (ProcessUser(OTHER, TIME - 1), f"refused 1 peer of user {OTHER}"),
        (None, "refused 1 peer that disconnected before being accepted, or whose user"),
        # A process that is younger than the socket has the number of the one that made it.
        (ProcessUser(OURS, TIME + 1), "refused 1 peer that disconnected before"),
    ],
    ids=["our user", "another user", "an unknown user", "a number used again"],
)
def test_who_may_enter(windows: Windows, user: ProcessUser | None, told: str) -> None:
    async def meet() -> None:
        server = TCPSocketChannel()
        with socket.create_connection(("127.0.0.1", int(server.in_path))) as peer:
            peer.settimeout(PATIENCE)
            ends = peer.getpeername(), peer.getsockname()
            windows.rows = [row(*ends, pid=os.getpid()), row(*reversed(ends))]
            windows.users[PEER] = user
            if await server.connect(0.05):
                assert told == "is let in"
                peer.sendall(b"\0\0\0\5hello")
                assert await server.read() == b"hello"
            else:
                assert told in str(server.last_exception)
                assert is_reset(peer)
        await server.close()

    asyncio.run(meet())


@pytest.mark.covers("RDV-42")
def test_a_user_that_is_allowed(windows: Windows) -> None:
    async def meet() -> None:
        server = TCPSocketChannel(allowed_users=[OTHER.lower()])
        with socket.create_connection(("127.0.0.1", int(server.in_path))) as peer:
            ends = peer.getpeername(), peer.getsockname()
            windows.rows = [row(*ends, pid=os.getpid()), row(*reversed(ends))]
            windows.users[PEER] = ProcessUser(OTHER, TIME)
            assert await server.connect(PATIENCE)
        await server.close()

    asyncio.run(meet())


@pytest.mark.covers("RDV-42", "RDV-50")
@pytest.mark.parametrize(
    ("told", "owner"),
    [
        ({}, OURS),
        # All of MIB_TCP_STATE: ESTAB, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT are the ones that count.
        *(({"state": one}, OURS if 5 <= one <= 8 else None) for one in range(1, 13)),
        ({"made": 0}, OURS),  # Wine does not tell
        ({"pid": 0}, None),
        ({"pid": PEER + 1}, None),
    ],
    ids=str,
)
def test_what_counts(
    windows: Windows, pair: Pair, told: dict[str, int], owner: str | None
) -> None:
    windows.users[PEER] = windows.users[0] = ProcessUser(OURS, TIME)
    windows.has(pair[0], **told)
    assert peer_user(pair[0]) == owner


@pytest.mark.covers("RDV-50")
@pytest.mark.parametrize("which", range(4))
def test_an_answer_about_other_ends_does_not_count(
    windows: Windows, pair: Pair, which: int
) -> None:
    windows.users[PEER] = ProcessUser(OURS, 0)
    host, port = 0, 1
    ours, peer = (list(one) for one in (pair[0].getsockname(), pair[0].getpeername()))
    windows.rows = [row(ours, peer, pid=os.getpid())]
    other = ours if which % 2 else peer
    if which < 2:
        other[host] = "127.0.0.2"
    else:
        other[port] ^= 1
    windows.rows.append(row(peer, ours))
    assert peer_user(pair[0]) is None


@pytest.mark.covers("RDV-50")
@pytest.mark.parametrize(
    "change", ["process", "time", "state", "gone", "ours", "ours gone"]
)
def test_a_table_that_has_changed_since_does_not_count(
    windows: Windows, pair: Pair, change: str
) -> None:
    """The process may have ended, and its number may be another's, while it was asked."""

    def change_it(looks: int) -> None:
        if looks == 1:
            windows.rows = {
                "process": [mine, row(peer, ours, pid=PEER + 1)],
                "time": [mine, row(peer, ours, made=TIME + 1)],
                "state": [mine, row(peer, ours, state=TIME_WAIT)],
                "gone": [mine],
                "ours": [row(ours, peer, pid=os.getpid(), state=TIME_WAIT), theirs],
                "ours gone": [theirs],
            }[change]

    ours, peer = pair[0].getsockname(), pair[0].getpeername()
    mine, theirs = row(ours, peer, pid=os.getpid()), row(peer, ours)
    windows.users[PEER] = windows.users[PEER + 1] = ProcessUser(OURS, 0)
    windows.rows = [mine, theirs]
    assert peer_user(pair[0]) == OURS
    windows.before_look = lambda looks: change_it(looks - 2)
    assert peer_user(pair[0]) is None


@pytest.mark.parametrize("mapped", [False, True])
def test_ipv6(windows: Windows, mapped: bool) -> None:
    host = "::ffff:127.0.0.1" if mapped else "::1"
    with (
        socket.create_server(
            ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
        ) as listener,
        socket.socket(socket.AF_INET6) as client,
    ):
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        client.connect((host, listener.getsockname()[1]))
        server, _ = listener.accept()
        windows.users[PEER] = ProcessUser(OURS, 0)
        ends = server.getsockname(), server.getpeername()
        windows.rows6 = [row(*ends), row(*reversed(ends))]
        assert peer_user(server) == OURS
        if mapped:
            plain = [(end[0].removeprefix("::ffff:"), end[1]) for end in ends]
            windows.rows6 = []
            windows.rows = [row(plain[0], plain[1]), row(plain[1], plain[0])]
            assert peer_user(server) == OURS
        server.close()


@pytest.mark.parametrize("looks", [3, 4])
def test_a_process_that_is_told_late(windows: Windows, pair: Pair, looks: int) -> None:
    """As under Wine, which does not know it before it has used the socket."""

    def look(number: int) -> None:
        if number == looks:
            windows.rows = []
            windows.has(pair[0])

    windows.users[PEER] = windows.users[0] = ProcessUser(OURS, 0)
    windows.has(pair[0], pid=0)
    windows.before_look = look
    assert peer_user(pair[0]) == (OURS if looks < 4 else None)


def test_many_at_once(windows: Windows, pair: Pair) -> None:
    """Each gets its own answer, from one look at the table and another."""
    looks: list[int] = []
    windows.before_look = looks.append
    windows.users[PEER] = ProcessUser(OTHER, 0)
    windows.has(pair[0])
    with socket.socket() as unconnected:
        owners = WindowsOwners().owners([*pair, unconnected, pair[0]])
    assert owners == [OTHER, OURS, None, OTHER]
    assert len(looks) == 2
    assert WindowsOwners().owners([]) == []


def test_a_want_of_the_system_is_told(
    windows: Windows, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about the peer."""

    def fail(*_: object, **__: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(tcp_table, "read_tcp_table", fail)
    with pytest.raises(MemoryError):
        peer_user(pair[0])


def test_the_text_of_a_sid() -> None:
    sid = (
        struct.pack("<BB", 1, 5)
        + (5).to_bytes(6, "big")
        + struct.pack("<5I", 21, 1, 2, 3, 9)
    )
    assert sid_text(sid + b"more") == "S-1-5-21-1-2-3-9"
    assert sid_of("s-1-05-18") == SYSTEM


@pytest.mark.usefixtures("windows")
def test_users_are_sids_or_names() -> None:
    assert check_users([SYSTEM, OTHER]) == {SYSTEM, OTHER}
    with pytest.raises(ValueError, match="has 1000; on Windows a user is a SID"):
        check_users([1000])
