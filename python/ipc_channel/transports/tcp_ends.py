"""The addresses and ports of a connection, as both systems' tables of sockets are searched."""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

MAPPED: Final = bytes(10) + b"\xff\xff"  # prefix of an IPv4 address mapped to IPv6


class Ends(NamedTuple):
    """The two ends of a connection, seen from one of them; IPv4 is mapped to IPv6."""

    local_host: bytes
    local_port: int
    remote_host: bytes
    remote_port: int

    def mirrored(self) -> Ends:
        """Return the ends as the other end sees them."""
        return Ends(self.remote_host, self.remote_port, self.local_host, self.local_port)


def peer_ends(sock: socket.socket) -> Ends | None:
    """Return the ends of a connection as the peer sees them; None without a peer."""
    try:
        peer, ours = sock.getpeername(), sock.getsockname()
    except OSError:  # it is not connected any more
        return None
    return Ends(pack(peer[0]), peer[1], pack(ours[0]), ours[1])


def pack(host: str) -> bytes:
    """Return an address as the 16 bytes of IPv6."""
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return MAPPED + socket.inet_pton(socket.AF_INET, host)
