"""The event loops that tests run on.

They are asyncio's own, the same in debug mode, uvloop, one that watches nothing, and that
of blocking channels. On Windows they are both of asyncio's loops.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import unwatching_loop

New = Callable[[], asyncio.AbstractEventLoop]


def _debug_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60  # a slow machine is no fault
    return loop


if sys.platform == "win32":
    PLAIN: dict[str, New] = {
        "proactor": unwatching_loop.ProactorLoop,
        "selector": asyncio.SelectorEventLoop,
    }
    ALL: dict[str, New] = PLAIN
else:
    import uvloop

    import caller_loops

    PLAIN: dict[str, New] = {
        "asyncio": asyncio.new_event_loop,
        "uvloop": uvloop.new_event_loop,
    }
    """Those that a program may use."""
    ALL: dict[str, New] = {
        "asyncio": asyncio.new_event_loop,
        "debug": _debug_loop,
        "uvloop": uvloop.new_event_loop,
        "thread": unwatching_loop.UnwatchingLoop,
        "caller": caller_loops.new_caller_loop,
    }
    """What ``async`` tests run on."""


def new() -> asyncio.AbstractEventLoop:
    """Make a loop of the kind that is asyncio's default."""
    return next(iter(PLAIN.values()))()
