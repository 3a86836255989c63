"""Logging that never gets into the way of what it tells about."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable


def safely(log: Callable[..., object], text: str, *args: object) -> None:
    """Call ``log``, a method of a logger, and survive filters and handlers that raise.

    What a session frees and whom it wakes must not depend on them. As with the
    handlers of the standard library, the traceback goes to stderr unless
    ``logging.raiseExceptions`` is False.
    """
    try:
        log(text, *args)
    except Exception:  # noqa: BLE001  # of code that is not ours
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()
