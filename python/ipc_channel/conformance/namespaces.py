"""Becomes a command in namespaces of its own (Linux).

In a user namespace that maps no user, the kernel shows every user as the overflow
user: strangers, and the process itself. In a new network namespace no interface is
up, not even the loopback one. ``python namespaces.py FLAGS COMMAND`` needs nothing
of this package.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Sequence
from typing import Final

UNMAPPED: Final = 0x10000000  # CLONE_NEWUSER
NO_NETWORK: Final = UNMAPPED | 0x40000000  # and CLONE_NEWNET, which takes a user's rights


def command(flags: int, command: Sequence[str]) -> list[str]:
    """Return what starts ``command`` in such namespaces."""
    return [sys.executable, __file__, str(flags), *command]


async def is_supported(flags: int) -> bool:
    """Whether this system lets its users make such namespaces."""
    trial = command(flags, [sys.executable, "-c", ""])
    process = await asyncio.create_subprocess_exec(
        *trial, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


def _become(flags: int, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    os.execvp(command[0], command)  # noqa: S606  # a testee is a command


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
