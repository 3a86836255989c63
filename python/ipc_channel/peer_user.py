"""Whose is the socket at the other end of a loopback connection? (Linux)

TCP has no credentials, but the kernel knows the owner of every local socket.
It is asked for one directly (sock_diag, microseconds), or, where that is not
built in or not allowed, in the table of all (/proc, milliseconds).
"""

from __future__ import annotations

import errno
import socket
import struct

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_USER_AND_INODE = struct.Struct("=2I")
_USER_OFFSET = 16 + 4 + 48 + 12  # netlink header, state, socket id, queues


def peer_user(sock: socket.socket) -> int | None:
    """Return the user id of the process at the other end; None if it cannot be told.

    That is so once the process has closed its socket, which then is nobody's.
    Raises OSError if there is no descriptor left for asking.
    """
    try:
        local, remote = sock.getpeername(), sock.getsockname()  # seen from the peer
    except OSError:
        return None
    user = _ask_kernel(sock.family, local, remote)
    return _search_table(sock.family, local, remote) if user is None else user


def _ask_kernel(family: int, local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    ends = struct.pack("!HH", local[1], remote[1])
    for host, _ in (local[:2], remote[:2]):
        ends += socket.inet_pton(family, host).ljust(16, b"\0")
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ANY_STATE)
    body += ends + struct.pack("=I", 0) + _NO_COOKIE
    header = struct.pack("=IHHII", 16 + len(body), _BY_FAMILY, _REQUEST, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as netlink:
            netlink.send(header + body)
            answer = netlink.recv(4096, socket.MSG_DONTWAIT)
    except OSError:
        return None
    (kind,) = struct.unpack_from("=H", answer, 4)
    if kind != _BY_FAMILY:
        return None
    user, inode = _USER_AND_INODE.unpack_from(answer, _USER_OFFSET)
    return int(user) if inode else None


def _search_table(
    family: int, local: tuple[str, int], remote: tuple[str, int]
) -> int | None:
    name = "tcp6" if family == socket.AF_INET6 else "tcp"
    wanted = [_in_table(family, end) for end in (local, remote)]
    try:
        with open(f"/proc/net/{name}", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[1:3] == wanted and fields[9] != "0":
                    return int(fields[7])
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
    return None


def _in_table(family: int, end: tuple[str, int]) -> str:
    """Return an address as /proc writes it: 32-bit words in the machine's order."""
    packed = socket.inet_pton(family, end[0])
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{end[1]:04X}"
