"""Counts the peers that a server turns away, and logs them at most once a second."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from ipc_channel.log import safely
from ipc_channel.transports.peer_user import Owner

_LEFT = "that had left already"
_INTERVAL = 1.0  # seconds: a flood of strangers is no flood of log lines


class Refusals:
    """The peers that were turned away at ``place``, by whose they were."""

    def __init__(self, logger: logging.Logger, place: str) -> None:
        self._logger = logger
        self._place = place
        self._recent: Counter[str] = Counter()  # since :meth:`begin`
        self._unlogged: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # of the timer

    def begin(self) -> None:
        """Start the count that :meth:`summary` tells anew."""
        self._recent.clear()

    def count(self, owner: Owner) -> None:
        """Count a peer that was turned away."""
        whose = _LEFT if owner is None else f"of user {owner}"
        self._recent[whose] += 1
        self._unlogged[whose] += 1

    def report(self, loop: asyncio.AbstractEventLoop) -> None:
        """Log what was counted: at once, or together with what comes within the second."""
        if not self._unlogged or (
            self._timer and self._loop and not self._loop.is_closed()
        ):
            return
        self._loop = loop
        self._timer = loop.call_later(_INTERVAL, self._on_timer)
        self.flush()

    def flush(self) -> None:
        """Log what was counted since the last time."""
        if self._unlogged:
            text = _describe(self._unlogged)
            self._unlogged.clear()
            safely(self._logger.warning, "%s: turned away %s", self._place, text)

    def stop(self) -> None:
        """Log what is left, and no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def summary(self) -> str | None:
        """Say who was turned away since :meth:`begin`; None if nobody was."""
        if not self._recent:
            return None
        advice = "; a client has to stay until the server has accepted it"
        text = f"turned away {_describe(self._recent)}"
        return text + (advice if _LEFT in self._recent else "")

    def _on_timer(self) -> None:
        self._timer = None
        if self._unlogged and self._loop is not None:
            self.report(self._loop)


def _describe(counts: Counter[str]) -> str:
    total = counts.total()
    parts = [
        whose if number == total else f"{number} {whose}"
        for whose, number in counts.most_common(4)
    ]
    parts += ["others"] if len(counts) > len(parts) else []
    noun = "1 peer" if total == 1 else f"{total} peers"
    return f"{noun} {parts[0]}" if len(parts) == 1 else f"{noun}: {', '.join(parts)}"
