"""Logging that never disturbs the session it reports on."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable


def safely(log: Callable[..., object], text: str, *args: object) -> None:
    """Call ``log``, a method of a logger, and survive filters and handlers that raise.

    A session must free its resources and wake its waiters whatever they do. As with the
    handlers of the standard library, the traceback goes to stderr unless
    ``logging.raiseExceptions`` is False.
    """
    try:
        log(text, *args)
    except Exception:  # noqa: BLE001  # raised by the application's code
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()
