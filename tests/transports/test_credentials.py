"""What the kernel says about the user at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from ipc_channel.transports import credentials
from ipc_channel.transports.credentials import ask_credentials, peer_user
from other_users import STRANGER, as_user, needs_root

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


@pytest.mark.covers("RDV-64", "RDV-65")
def test_our_own_user(pair: Pair) -> None:
    assert peer_user(pair[0]) == os.geteuid()
    pair[1].close()
    assert peer_user(pair[0]) == os.geteuid(), "also once it has left"


@needs_root
@pytest.mark.covers("RDV-64")
def test_the_effective_user_counts() -> None:
    with as_user(STRANGER):
        ends = socket.socketpair()
    with ends[0], ends[1]:
        assert peer_user(ends[0]) == STRANGER
        with ask_credentials() as query:
            assert query.owners(ends) == [STRANGER, STRANGER]
            assert query.owners([]) == []
            assert not query.used_table


def test_a_socket_that_is_not_connected() -> None:
    with socket.socket(socket.AF_UNIX) as alone:
        assert peer_user(alone) is None, "the kernel says 2**32 - 1"
    assert peer_user(alone) is None, "it is closed"


@pytest.mark.parametrize(
    ("version", "user", "expected"),
    [(0, 501, 501), (0, 0, 0), (0, 2**32 - 1, None), (1, 501, None)],
)
def test_as_on_macos(
    version: int,
    user: int,
    expected: int | None,
    pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer is a struct xucred: version, user, count of groups, 16 groups."""
    answer = struct.pack("=IIhxxI60x", version, user, 1, 20)
    assert len(answer) == credentials._XUCRED_SIZE
    asked: list[socket.socket] = []

    def xucred(sock: socket.socket) -> bytes:
        asked.append(sock)
        return answer

    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(credentials, "_xucred", xucred)
    assert peer_user(pair[0]) == expected
    assert asked == [pair[0]]


def test_a_system_that_cannot_tell(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """LOCAL_PEERCRED is no option of a Linux socket, for instance."""
    monkeypatch.setattr("sys.platform", "darwin")
    assert peer_user(pair[0]) is None


@pytest.mark.parametrize("answer", [b"", bytes(4)])
def test_an_answer_that_is_too_short(
    answer: bytes, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(credentials, "_xucred", lambda _: answer)
    assert peer_user(pair[0]) is None
