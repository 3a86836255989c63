"""Processes as ``/proc`` shows them: our children, theirs, and whether one still runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path


def children() -> list[int]:
    """Return the processes that were started here and are not reaped; none on Windows."""
    if sys.platform == "win32":
        return []
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            found += map(int, (task / "children").read_text().split())
    return sorted(found)


def child_of(pid: int) -> int:
    """Return the only child of a process that has one thread."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def lives(pid: int) -> bool:
    """Whether a process is running; one that has ended but is not reaped yet is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def kill_if_alive(pid: int) -> None:
    """Kill what a test has left on purpose."""
    if lives(pid):
        os.kill(pid, signal.SIGKILL)
