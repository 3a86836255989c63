"""Becomes a command in a user namespace that maps no user (Linux).

The kernel shows every user there as the overflow user: strangers, and the
process itself. ``python user_namespace.py COMMAND`` needs nothing of this package.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Sequence

_NEW_USER = 0x10000000  # CLONE_NEWUSER


def command(command: Sequence[str]) -> list[str]:
    """Return what starts ``command`` in such a namespace."""
    return [sys.executable, __file__, *command]


async def is_supported() -> bool:
    """Whether this system lets its users make user namespaces."""
    trial = command([sys.executable, "-c", ""])
    process = await asyncio.create_subprocess_exec(
        *trial, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


def _become(command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    os.execvp(command[0], command)  # noqa: S606  # a testee is a command


if __name__ == "__main__":
    _become(sys.argv[1:])
