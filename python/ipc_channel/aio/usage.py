"""Checks of how a channel is used: in which loop, and whether it is closed in the end."""

from __future__ import annotations

import asyncio
import warnings

from ipc_channel.errors import WrongLoopError


def check_running(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """Return the running loop; raise WrongLoopError if ``loop`` names another."""
    running = asyncio.get_running_loop()
    if loop is not None and loop is not running:
        raise WrongLoopError(
            "the loop that was given to the constructor is not the running one;"
            " leave it out, or call from a coroutine that runs in that loop"
        )
    return running


def warn_unclosed(channel: object) -> None:
    """Warn that ``channel`` is collected without having been closed."""
    warnings.warn(f"unclosed {channel!r}", ResourceWarning, source=channel, stacklevel=3)
