"""What Windows answers about sockets and processes, made up for a test."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from ipc_channel.windows.accounts import ProcessUser

OURS, OTHER = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
ESTABLISHED, TIME_WAIT = 5, 11
PEER = 4321  # the number of the peer's process
TIME = 10**17  # when its socket was made


class CodedError(OSError):
    """An error with a code of Windows, which elsewhere no OSError has."""

    def __init__(self, code: int) -> None:
        super().__init__(code, "as Windows says")
        self.winerror = code


class Windows:
    """The two answers of Windows, as a test wants them."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.rows6: list[bytes] = []
        self.users: dict[int, ProcessUser | None] = {os.getpid(): ProcessUser(OURS, 0)}
        self.before_look: Callable[[int], object] = lambda _: None
        """Called with the number of looks at the table before this one."""
        self._looks = 0

    def read_tcp_table(self, family: int, *, whole: bool) -> bytes:
        if family == socket.AF_INET and not whole:
            self.before_look(self._looks)
            self._looks += 1
        rows = self.rows if family == socket.AF_INET else self.rows6
        if not whole:  # as Wine does
            rows = [one for one in rows if state_of(one) == ESTABLISHED]
        return struct.pack("<I4x", len(rows)) + b"".join(rows) + bytes(400)

    def user_of_process(self, pid: int) -> ProcessUser | None:
        return self.users.get(pid)

    def has(self, sock: socket.socket, **told: int) -> None:
        """Have the connection of ``sock``, whose other end is told about, in the table."""
        ours, peer = sock.getsockname(), sock.getpeername()
        self.rows += [row(ours, peer, pid=os.getpid()), row(peer, ours, **told)]


def row(
    local: Any, remote: Any, state: int = ESTABLISHED, pid: int = PEER, made: int = TIME
) -> bytes:
    """Return a MIB_TCPROW_OWNER_MODULE, or a MIB_TCP6ROW_OWNER_MODULE."""
    ends = b"".join(
        socket.inet_pton(socket.AF_INET6, host) + struct.pack("<I", 0) + pack_port(port)
        if ":" in host
        else socket.inet_aton(host) + pack_port(port)
        for host, port, *_ in (local, remote)
    )
    if ":" in local[0]:
        return ends + struct.pack("<IIq128x", state, pid, made)
    return struct.pack("<I", state) + ends + struct.pack("<Iq128x", pid, made)


def state_of(row: bytes) -> int:
    (state,) = struct.unpack_from("<I", row, 0 if len(row) == 160 else 48)
    return int(state)


def pack_port(port: int) -> bytes:
    return struct.pack("!H", port) + b"\xaa\xbb"  # only two of the four bytes are defined
