"""Which user owns the socket at the other end of a loopback connection (RDV-42).

TCP carries no credentials, but some systems know the owner of every local socket. How
each is asked is in a module of its own.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from ipc_channel.transports.owner_linux import LinuxOwners
from ipc_channel.transports.owner_windows import WindowsOwners
from ipc_channel.users import Owner


class _Owners(Protocol):
    """Asks one system which users own sockets."""

    used_table: bool

    def close(self) -> None: ...

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]: ...


class _NoOwners:
    """Every owner is unknown."""

    used_table = False

    def close(self) -> None:
        pass

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]:
        return [None] * len(socks)


def tells_owners() -> bool:
    """Whether this system tells which user owns a socket."""
    return sys.platform in ("linux", "win32")


class OwnerQuery:
    """Asks the system which users own sockets; a context manager.

    Open it before accepting a connection: on Linux the query needs a descriptor, and the
    connection may take the last one.

    Raises OSError if no descriptor is free.
    """

    def __init__(self) -> None:
        self._system = _ask_system()

    @property
    def used_table(self) -> bool:
        """Whether the table of all sockets had to be read, which takes milliseconds."""
        return self._system.used_table

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._system.close()

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]:
        """Return the owner of the other end of each of ``socks``; None if unknown.

        Raises OSError if a descriptor, or another resource, is lacking.
        """
        return self._system.owners(socks)


def _ask_system() -> _Owners:
    # Compared at run time, by a name: a type checker would skip the other systems.
    system: str = sys.platform
    if system == "linux":
        return LinuxOwners()
    return WindowsOwners() if system == "win32" else _NoOwners()


def peer_user(sock: socket.socket) -> Owner:
    """Return the user that owns the other end of ``sock``; None if that is unknown.

    It is unknown before the peer's process has accepted the connection, and after it
    has closed its socket. Raises OSError if no descriptor is free for the query.
    """
    with OwnerQuery() as query:
        return query.owners([sock])[0]
