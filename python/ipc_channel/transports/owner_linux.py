"""Which user owns the socket at the other end of a loopback connection (Linux, RDV-42).

TCP carries no credentials, but the kernel knows the owner of every local socket. A
sock_diag query for one socket takes microseconds. Where the kernel lacks sock_diag or
forbids it, its table of all sockets (/proc/net) is searched, which takes milliseconds.

An answer counts only if it concerns the peer of this very connection: its addresses
match, its state is one in which a process can still use it, a process holds it, and
our own socket is still connected afterwards. Otherwise the answer may concern another
connection that has reused the addresses, or a socket that listens on the port, which
the kernel returns when it finds no connection.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from ipc_channel import fork
from ipc_channel.transports.tcp_ends import MAPPED, Ends, peer_ends
from ipc_channel.users import Owner

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

# ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT. Not SYN_SENT: that socket belongs to a
# process that has reused the port, and not to the process that sent the data.
_CONNECTED: Final = frozenset((1, 4, 5, 8))
_LACKING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)

Answer = int | Literal["unanswered"] | None


class LinuxOwners:
    """Asks the kernel which users own sockets, until ``close``.

    Raises OSError if no descriptor is free.
    """

    def __init__(self) -> None:
        self.used_table = False
        """Whether the table of all sockets had to be read, which takes milliseconds."""
        self._diag = _open_diag()

    def close(self) -> None:
        if self._diag is not None:
            fork.close(self._diag)

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]:
        """Return the owner of the other end of each of ``socks``.

        Reads the table at most once, and only if the kernel left a query unanswered.
        Raises OSError if no descriptor is free for that.
        """
        peers = [peer_ends(sock) for sock in socks]
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
        # While our own end is connected, no other connection can have its addresses: so
        # the owner that was found does own the peer's socket.
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
        # Does the kernel not know the peer's socket, or does it refuse such queries? It
        # certainly knows our own end, so a query about that tells.
        ours = _ask_kernel(self._diag, peer.mirrored())
        return "unanswered" if ours == "unanswered" else None


def _is_connected(sock: socket.socket) -> bool:
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state in _CONNECTED


def _open_diag() -> socket.socket | None:
    try:
        return fork.hold(
            lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG)
        )
    except OSError as error:
        if error.errno in _LACKING:
            raise
        return None


def _ask_kernel(diag: socket.socket, ends: Ends) -> Answer:
    """Query the owner of the socket with these ends."""
    family, hosts = socket.AF_INET6, [ends.local_host, ends.remote_host]
    if all(host.startswith(MAPPED) for host in hosts):
        family, hosts = socket.AF_INET, [host[len(MAPPED) :] for host in hosts]
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


def _owner_in(answer: bytes, wanted: Ends) -> int | None:
    family, state = _STATE.unpack_from(answer, _HEADER.size)
    local_port, remote_port, *hosts = _ENDS.unpack_from(answer, _ENDS_OFFSET)
    if family == socket.AF_INET:
        hosts = [MAPPED + host[:4] for host in hosts]
    user, inode = _USER_AND_INODE.unpack_from(answer, _USER_OFFSET)
    is_wanted = Ends(hosts[0], local_port, hosts[1], remote_port) == wanted
    return int(user) if is_wanted and inode and state in _CONNECTED else None


def _search_tables(wanted: set[Ends]) -> dict[Ends | None, int | None]:
    """Search both tables: that of IPv6 contains IPv4 connections as well."""
    written = {
        _in_table(ends, start): ends
        for ends in wanted
        for start in ((0, len(MAPPED)) if ends.local_host.startswith(MAPPED) else (0,))
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
    """Return both ends as /proc writes them, the addresses from byte ``start`` on."""
    return (
        _words(ends.local_host[start:]) + f":{ends.local_port:04X}",
        _words(ends.remote_host[start:]) + f":{ends.remote_port:04X}",
    )


def _words(packed: bytes) -> str:
    """Write an address as 32-bit words in the machine's byte order."""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
