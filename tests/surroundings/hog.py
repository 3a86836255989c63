"""Take a user's quota of pipe buffers, and then run a command: its pipes hold a page or two.

``hog.py COMMAND...``. The pipes stay open as long as the command runs.
"""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys

_SMALL = 8192  # bytes that a pipe holds once the quota is used up


def take_the_quota() -> list[int]:
    """Open pipes until new ones are small."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: list[int] = []
    while True:
        held += os.pipe()
        if fcntl.fcntl(held[-1], fcntl.F_GETPIPE_SZ) <= _SMALL:
            return held
        # Larger ones use the quota up with fewer descriptors; that may fail near its end.
        try:
            fcntl.fcntl(held[-1], fcntl.F_SETPIPE_SZ, 2**20)
        except PermissionError:
            continue


if __name__ == "__main__":
    pipes = take_the_quota()
    print(f"the quota is used up by {len(pipes) // 2} pipes", flush=True)
    sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
