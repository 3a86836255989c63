"""How a server judges the connections that come in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ipc_channel.users import Owner


class Query(Protocol):
    """Asks the kernel which users hold the other ends of sockets."""

    @property
    def used_table(self) -> bool:
        """Whether an answer took as long as reading the table of all sockets does."""

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]:
        """Return the user at the other end of each socket; may raise OSError."""


@dataclass(frozen=True)
class Gate:
    """What a transport asks about connections, and how it turns them away."""

    query: Callable[[], AbstractContextManager[Query]]
    """Begins to ask about a batch; called before the batch is accepted."""
    may_enter: Callable[[Owner], bool]
    turn_away: Callable[[socket.socket], None]
    """Closes a connection so that the client at its other end notices."""
