"""Checks that a channel is used in the right loop, and is closed in the end."""

from __future__ import annotations

import asyncio
import warnings

from ipc_channel.errors import WrongLoopError


def check_running(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """Return the running loop; raise WrongLoopError if ``loop`` names another."""
    running = asyncio.get_running_loop()
    if loop is not None and loop is not running:
        raise WrongLoopError(
            "the loop passed to the constructor is not the running one;"
            " leave it out, or call from a coroutine that runs in that loop"
        )
    return running


def runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` is running in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def warn_unclosed(channel: object) -> None:
    """Warn that ``channel`` was garbage-collected before it was closed."""
    warnings.warn(f"unclosed {channel!r}", ResourceWarning, source=channel, stacklevel=3)
