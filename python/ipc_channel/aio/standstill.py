"""Notices that both ends write and neither reads, which would last for ever."""

from __future__ import annotations

import asyncio
import logging

from ipc_channel.aio.receiver import Receiver
from ipc_channel.aio.sender import Sender
from ipc_channel.log import safely

PAUSE = 10.0
"""Seconds that a write waits, with messages unread, before there is a warning."""


class StandstillWatch:
    """Looks, while reading is paused for want of readers, whether a write waits as well.

    It warns once in a session.
    """

    def __init__(
        self, sender: Sender, receiver: Receiver, logger: logging.Logger, name: str
    ) -> None:
        self._sender = sender
        self._receiver = receiver
        self._logger = logger
        self._name = name
        self._timer: asyncio.TimerHandle | None = None
        self._before: tuple[int, int] | None = None  # as the last look found it
        self._is_over = False

    def begin(self) -> None:
        """Begin to look: so many messages are unread that reading was paused."""
        if self._timer is None and not self._is_over:
            self._before = None
            self._timer = self._sender.stream.loop.call_later(PAUSE, self._look)

    def end(self) -> None:
        """Look no more: the session is closed."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        sender, receiver = self._sender, self._receiver
        if receiver.reading or receiver.state.end is not None:
            return
        now = (sender.size, receiver.queued)
        if not (sender.has_waiting_writers and now == self._before):
            self.begin()
            self._before = now
            return
        self._is_over = True
        safely(
            self._logger.warning,
            "%s: a write has waited for %s s, while %d messages of the peer are unread; if the"
            " peer does not read before it has written all, both wait for ever: read while"
            " you write, in a task or thread of its own",
            self._name,
            PAUSE,
            receiver.queued,
        )
