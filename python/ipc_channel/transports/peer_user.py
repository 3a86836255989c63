"""Whose is the socket at the other end of a loopback connection? (Linux, RDV-42)

TCP has no credentials, but the kernel knows the owner of every local socket. It is
asked for each directly (sock_diag, microseconds) or, where that is not built in or
not allowed, in its table of all (/proc/net, milliseconds).

An answer counts only if it is about the peer of this very connection: its
addresses are the same, its state is one in which a process can still use it, a
process holds it, and our own socket is connected afterwards as well. Once a
connection is gone, another one may have the same addresses, and a look-up that
finds no connection falls back to a socket that listens on the port.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from ipc_channel import fork

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_HEADER = struct.Struct("=IHHII")
# Parts of the answer: family and state; the two ends; user and inode.
_STATE = struct.Struct("=BB")
_ENDS = struct.Struct("!HH16s16s")
_USER_AND_INODE = struct.Struct("=2I")
_ENDS_OFFSET = _HEADER.size + 4
_USER_OFFSET = _ENDS_OFFSET + 48 + 12

# ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT. Not SYN_SENT: a process that begins
# to connect from a port that a stranger used before is not the one that has sent.
_CONNECTED: Final = frozenset((1, 4, 5, 8))
_LACKING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_MAPPED: Final = bytes(10) + b"\xff\xff"  # what an IPv4 address begins with in IPv6

Owner = int | None
"""The user who holds a socket; None if no process does, or nobody can tell."""
Answer = Owner | Literal["unanswered"]


class Ends(NamedTuple):
    """The two ends of a connection, seen from one of them; IPv4 is mapped to IPv6."""

    local_host: bytes
    local_port: int
    remote_host: bytes
    remote_port: int


class OwnerQuery:
    """Asks the kernel who holds sockets; a context manager.

    On systems other than Linux nobody can tell. Opened before a connection is accepted, so that the peer does not get the last
    descriptor of the process, without which nobody could be asked about it.

    Raises OSError if there is no descriptor left.
    """

    def __init__(self) -> None:
        self.used_table = False
        """Whether an answer took as long as reading the table of all sockets does."""
        self._diag = _open_diag()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._diag is not None:
            fork.close(self._diag)

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]:
        """Return who holds the other end of each of ``socks``.

        Reads the table at most once, and only if the kernel did not answer.
        Raises OSError if there is no descriptor left for that.
        """
        if sys.platform != "linux":
            return [None] * len(socks)
        peers = [_peer_ends(sock) for sock in socks]
        answers = [None if peer is None else self._ask(peer) for peer in peers]
        missing = {
            peer
            for peer, answer in zip(peers, answers, strict=True)
            if peer is not None and answer == "unanswered"
        }
        self.used_table = bool(missing)
        table = _search_tables(missing) if missing else {}
        owners = (
            answer if answer != "unanswered" else table.get(peer)
            for peer, answer in zip(peers, answers, strict=True)
        )
        # While our own end is connected, the kernel makes no other connection with its
        # addresses: so the owner that was found holds the peer of this one.
        return [
            owner if _is_connected(sock) else None
            for sock, owner in zip(socks, owners, strict=True)
        ]

    def _ask(self, peer: Ends) -> Answer:
        if self._diag is None:
            return "unanswered"
        answer = _ask_kernel(self._diag, peer)
        if answer != "unanswered":
            return answer
        # Does the kernel not know the peer's socket, or not understand the question?
        # It knows our own end for certain.
        ours = Ends(peer.remote_host, peer.remote_port, peer.local_host, peer.local_port)
        return "unanswered" if _ask_kernel(self._diag, ours) == "unanswered" else None


def peer_user(sock: socket.socket) -> Owner:
    """Return the user who holds the other end of ``sock``; None if that cannot be told.

    It cannot once the process has closed its socket, nor before it has accepted it.
    Raises OSError if there is no descriptor left for asking.
    """
    with OwnerQuery() as query:
        return query.owners([sock])[0]


def _is_connected(sock: socket.socket) -> bool:
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state in _CONNECTED


def _peer_ends(sock: socket.socket) -> Ends | None:
    try:
        peer, ours = sock.getpeername(), sock.getsockname()
    except OSError:  # it is not connected any more
        return None
    return Ends(_pack(peer[0]), peer[1], _pack(ours[0]), ours[1])


def _pack(host: str) -> bytes:
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host)
    return _MAPPED + socket.inet_pton(socket.AF_INET, host)


def _open_diag() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    try:
        return fork.hold(
            lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG)
        )
    except OSError as error:
        if error.errno in _LACKING:
            raise
        return None


def _ask_kernel(diag: socket.socket, ends: Ends) -> Answer:
    """Ask for the owner of the socket with these ends."""
    family, hosts = socket.AF_INET6, [ends.local_host, ends.remote_host]
    if all(host.startswith(_MAPPED) for host in hosts):
        family, hosts = socket.AF_INET, [host[len(_MAPPED) :] for host in hosts]
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ANY_STATE)
    body += _ENDS.pack(ends.local_port, ends.remote_port, *hosts)
    body += struct.pack("=I", 0) + _NO_COOKIE
    header = _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 0, 0)
    try:
        diag.send(header + body)
        answer = diag.recv(4096, socket.MSG_DONTWAIT)
    except OSError:
        return "unanswered"
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return "unanswered"
    return _owner_in(answer, ends)


def _owner_in(answer: bytes, wanted: Ends) -> Owner:
    family, state = _STATE.unpack_from(answer, _HEADER.size)
    local_port, remote_port, *hosts = _ENDS.unpack_from(answer, _ENDS_OFFSET)
    if family == socket.AF_INET:
        hosts = [_MAPPED + host[:4] for host in hosts]
    user, inode = _USER_AND_INODE.unpack_from(answer, _USER_OFFSET)
    is_wanted = Ends(hosts[0], local_port, hosts[1], remote_port) == wanted
    return int(user) if is_wanted and inode and state in _CONNECTED else None


def _search_tables(wanted: set[Ends]) -> dict[Ends | None, Owner]:
    """Look for sockets in the tables of both families: IPv6 has IPv4 connections, too."""
    written = {
        _in_table(ends, start): ends
        for ends in wanted
        for start in ((0, len(_MAPPED)) if ends.local_host.startswith(_MAPPED) else (0,))
    }
    return {
        written[ends]: user
        for name in ("tcp", "tcp6")
        for ends, user in _rows(name)
        if ends in written
    }


def _rows(name: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the ends and the user of each connected socket that a process holds."""
    try:
        with open(f"/proc/net/{name}", encoding="utf-8") as table:
            next(table, None)  # the headings
            for line in table:
                fields = line.split(None, 10)
                if int(fields[3], 16) in _CONNECTED and fields[9] != "0":
                    yield (fields[1], fields[2]), int(fields[7])
    except OSError as error:
        if error.errno in _LACKING:
            raise


def _in_table(ends: Ends, start: int) -> tuple[str, str]:
    """Return both ends as /proc writes them, each from byte ``start`` of the address on."""
    return (
        _words(ends.local_host[start:]) + f":{ends.local_port:04X}",
        _words(ends.remote_host[start:]) + f":{ends.remote_port:04X}",
    )


def _words(packed: bytes) -> str:
    """Write an address in words of 32 bits in the machine's order of bytes."""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
