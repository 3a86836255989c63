"""Which user holds the other end of a Unix socket (spec/rendezvous.md, RDV-64, RDV-65).

The kernel notes it at the moment of ``connect`` and of ``listen``, so the answer is
there even if the process has left, or given up its rights, since.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from ipc_channel.users import Owner

_UCRED = struct.Struct("=iII")  # Linux: process, user, group
# macOS and the BSDs: struct xucred, which begins with its version and the user.
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1
_XUCRED = struct.Struct("=II")
_XUCRED_SIZE = 76
_NO_USER = 2**32 - 1


def peer_user(sock: socket.socket) -> Owner:
    """Return the user at the other end of ``sock``; None if the system cannot tell."""
    with contextlib.suppress(OSError, struct.error):
        if sys.platform == "linux":
            found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            _, user, _ = _UCRED.unpack(found)
        else:
            version, user = _XUCRED.unpack_from(_xucred(sock))
            if version != 0:
                return None
        return None if user == _NO_USER else int(user)
    return None


def _xucred(sock: socket.socket) -> bytes:
    return sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE)


class CredentialsQuery:
    """Asks for the users of a batch of connections, each in one system call."""

    used_table = False

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]:
        return [peer_user(sock) for sock in socks]


@contextlib.contextmanager
def ask_credentials() -> Iterator[CredentialsQuery]:
    yield CredentialsQuery()
