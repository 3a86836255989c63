"""Counts the peers that a server refuses, and logs them at most once a second."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter

from ipc_channel.log import safely
from ipc_channel.users import Owner

_LEFT = "that disconnected before being accepted"
# Windows tells only an administrator whose the processes of other users are.
_LEFT_OR_HIDDEN = f"{_LEFT}, or whose user this process may not ask for"
_INTERVAL = 1.0  # seconds: a flood of refused peers must not become a flood of log lines


class Refusals:
    """The peers that were refused at ``place``, counted by their user."""

    def __init__(self, logger: logging.Logger, place: str) -> None:
        self._logger = logger
        self._place = place
        self._recent: Counter[str] = Counter()  # since :meth:`begin`
        self._unlogged: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # of the timer

    def begin(self) -> None:
        """Restart the count that :meth:`summary` reports."""
        self._recent.clear()

    def count(self, owner: Owner) -> None:
        """Count a peer that was refused."""
        origin = _unknown() if owner is None else f"of user {owner}"
        self._recent[origin] += 1
        self._unlogged[origin] += 1

    def report(self, loop: asyncio.AbstractEventLoop) -> None:
        """Log the count now, or at the end of the second that began with the last log."""
        if not self._unlogged or (
            self._timer and self._loop and not self._loop.is_closed()
        ):
            return
        self._loop = loop
        self._timer = loop.call_later(_INTERVAL, self._on_timer)
        self.flush()

    def flush(self) -> None:
        """Log the peers that were counted since the last log."""
        if self._unlogged:
            text = _describe(self._unlogged)
            self._unlogged.clear()
            safely(self._logger.warning, "%s: refused %s", self._place, text)

    def stop(self) -> None:
        """Log the remaining count, and stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def summary(self) -> str | None:
        """Describe the peers refused since :meth:`begin`; None if there were none."""
        if not self._recent:
            return None
        advice = "; a client must stay connected until the server has accepted it"
        text = f"refused {_describe(self._recent)}"
        return text + (advice if _unknown() in self._recent else "")

    def _on_timer(self) -> None:
        self._timer = None
        if self._unlogged and self._loop is not None:
            self.report(self._loop)


def _unknown() -> str:
    return _LEFT_OR_HIDDEN if sys.platform == "win32" else _LEFT


def _describe(counts: Counter[str]) -> str:
    total = counts.total()
    parts = [
        origin if number == total else f"{number} {origin}"
        for origin, number in counts.most_common(4)
    ]
    parts += ["others"] if len(counts) > len(parts) else []
    noun = "1 peer" if total == 1 else f"{total} peers"
    return f"{noun} {parts[0]}" if len(parts) == 1 else f"{noun}: {', '.join(parts)}"
