"""The rendezvous strings of Unix sockets (spec/rendezvous.md, "Strings")."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from typing import Final

from ipc_channel.errors import BadRendezvousError
from ipc_channel.protocol.rendezvous import path_size, refusal

PREFIX: Final = "unix:"
MAX_PATH: Final = 103
"""Bytes in a path: what the system with the shortest names, macOS, has room for."""


@dataclass(frozen=True)
class UnixAddress:
    """The socket file at ``path``."""

    path: str
    transport: str = "unix"


def recognises(text: str) -> bool:
    return text.startswith(PREFIX + "/")


def parse(in_path: str, out_path: str) -> UnixAddress:
    """Return what two strings lead to; raise BadRendezvousError if they never can."""
    for text in (in_path, out_path):
        if not recognises(text):
            raise refusal("not a Unix socket, which is written unix:/PATH", text)
        check_path(text.removeprefix(PREFIX))
    if in_path != out_path:
        why = "a Unix socket has one string for both directions"
        raise refusal(why, in_path, out_path)
    return UnixAddress(in_path.removeprefix(PREFIX))


def check_path(path: str) -> None:
    """Raise BadRendezvousError unless a socket can have this path."""
    if not path.startswith("/"):
        raise refusal("the path of a Unix socket is absolute: begin it with /", path)
    if (size := path_size(path)) > MAX_PATH:
        why = f"the path of a Unix socket has at most {MAX_PATH} bytes, not {size}"
        raise refusal(why, path)


def check_unix_sockets_exist() -> None:
    """Raise BadRendezvousError on a platform without Unix sockets."""
    if not hasattr(socket, "AF_UNIX"):
        raise BadRendezvousError(f"{sys.platform} has no Unix sockets here; use TCP")
