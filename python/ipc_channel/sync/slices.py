"""How long a thread waits at a time, so that signals are not kept waiting.

Windows lets no signal interrupt a wait: the handler of Ctrl-C or CTRL_BREAK runs once the
wait is over. So a wait there is a sequence of short ones.
"""

from __future__ import annotations

import sys
from typing import Final

SLICE: Final = 0.1 if sys.platform == "win32" else None
"""Seconds to wait at a time; None for as long as it takes."""


def slice_of(seconds: float | None) -> float | None:
    """Return how long to wait next of a wait of ``seconds``; None is without an end."""
    if SLICE is None:
        return seconds
    return SLICE if seconds is None else min(seconds, SLICE)
