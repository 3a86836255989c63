"""How a TCP server listens, and judges what connects (spec/rendezvous.md, "TCP")."""

from __future__ import annotations

import functools
import logging
import socket
import struct
import sys

from ipc_channel import fork
from ipc_channel.transports.gate import Gate
from ipc_channel.transports.listener import BACKLOG, Listener
from ipc_channel.transports.peer_user import OwnerQuery, tells_owners
from ipc_channel.users import Owner, User, is_allowed

# SO_LINGER: close with a reset. Its two numbers are shorts on Windows, ints elsewhere.
_RESET = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)


class TCPListener(Listener):
    """Listens on a free port of 127.0.0.1, and lets in our user and ``allowed_users``."""

    def __init__(self, allowed_users: frozenset[User], logger: logging.Logger) -> None:
        sock = _listen()
        self.port: int = sock.getsockname()[1]
        may_enter = functools.partial(_may_enter, allowed_users=allowed_users)
        super().__init__(
            sock, Gate(OwnerQuery, may_enter, reset), logger, f"port {self.port}"
        )


def _listen() -> socket.socket:
    sock = fork.hold(socket.socket)
    try:
        # Without SO_REUSEADDR no other socket can bind the port beside this one.
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen(BACKLOG)
    except BaseException:
        fork.close(sock)
        raise
    return sock


def _may_enter(owner: Owner, allowed_users: frozenset[User]) -> bool:
    return not tells_owners() or is_allowed(owner, allowed_users)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    fork.close(sock)
