"""How a server over Unix sockets listens, and stays where it was (spec/rendezvous.md)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports.credentials import ask_credentials
from ipc_channel.transports.gate import Gate
from ipc_channel.transports.listener import Listener
from ipc_channel.transports.unix_place import Place
from ipc_channel.users import User, is_allowed

_LOOK = 0.1  # seconds between two looks at the socket file, while connect waits


class UnixListener(Listener):
    """Listens at ``place``, and lets in our user and ``allowed_users``."""

    def __init__(
        self, place: Place, allowed_users: frozenset[User], logger: logging.Logger
    ) -> None:
        self.place = place
        may_enter = functools.partial(is_allowed, allowed_users=allowed_users)
        gate = Gate(ask_credentials, may_enter, fork.close)
        sock = place.listen()
        super().__init__(sock, gate, logger, place.path, is_shared=place.is_shared)

    async def accept(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Accept as any listener does, and look meanwhile whether the file is still there."""
        looking: asyncio.TimerHandle

        def look() -> None:
            nonlocal looking
            looking = loop.call_later(_LOOK, look)
            try:
                self.refresh(loop)
            except (OSError, BadRendezvousError) as error:
                self.fail(error)

        self.refresh(loop)
        looking = loop.call_later(_LOOK, look)
        try:
            return await super().accept(loop)
        finally:
            looking.cancel()

    def refresh(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen anew if a cleaner of old files has removed the socket (RDV-69)."""
        if not self.closing and self.can_replace(loop):
            sock = self.place.refresh()
            # Even if it is not new: a signal handler may have raised before the last replace.
            if sock is not None:
                self.replace(sock)

    def on_session_end(self, loop: asyncio.AbstractEventLoop) -> None:
        # At once: the next helper may come before the next connect looks.
        with contextlib.suppress(OSError, BadRendezvousError):
            self.refresh(loop)
        super().on_session_end(loop)

    def close(self) -> None:
        super().close()
        self.place.remove()
