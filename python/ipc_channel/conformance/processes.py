"""The state of processes as /proc shows it; nothing on systems without /proc."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable


def of_session(leader: int) -> list[str]:
    """Return the /proc directories of a process and of those it has started.

    A testee's command may be a wrapper, such as a shell, around the client.
    """
    try:
        names = os.listdir("/proc")
    except FileNotFoundError:
        return []
    found = []
    for name in filter(str.isdigit, names):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            if os.getsid(int(name)) == leader:
                found.append(f"/proc/{name}")
    return found


def descriptors(processes: Iterable[str]) -> list[str]:
    """Return the files, pipes and sockets that processes have open."""
    found = []
    for process in processes:
        with contextlib.suppress(OSError):
            for number in os.listdir(f"{process}/fd"):
                with contextlib.suppress(OSError):
                    found.append(os.readlink(f"{process}/fd/{number}"))
    # Descriptors by which a runtime waits are left out, since it may keep them.
    return sorted(one for one in found if not one.startswith("anon_inode:"))


def tcp_states(port: int) -> list[int] | None:
    """Return the states of the connections to a port of 127.0.0.1; None if unknown."""
    try:
        with open("/proc/net/tcp", encoding="ascii") as table:
            lines = [line.split() for line in table][1:]
    except OSError:
        return None
    return [int(line[3], 16) for line in lines if line[1].endswith(f":{port:04X}")]


def switches(processes: Iterable[str]) -> int | None:
    """Return how often their threads have gone to sleep; None if a thread is running."""
    count = 0
    for process in processes:
        for thread in glob.iglob(f"{process}/task/[0-9]*/status"):
            with contextlib.suppress(OSError), open(thread, encoding="utf-8") as status:
                for line in status:
                    name, _, value = line.partition(":")
                    if name == "State" and value.split()[0] != "S":
                        return None
                    if name == "voluntary_ctxt_switches":
                        count += int(value)
    return count


def memory(processes: Iterable[str]) -> int:
    """Return the peak memory of processes together, in bytes, as the kernel counts."""
    return sum(map(_most, processes)) * 1024


def _most(process: str) -> int:
    with (
        contextlib.suppress(OSError),
        open(f"{process}/status", encoding="utf-8") as status,
    ):
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
