"""Services that are killed, and the guards that end their helpers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dispositions
from process_tree import lives
from raw import PATIENCE

_BEGIN = """
import asyncio, json, os, resource, signal, sys, threading, time
from ipc_channel import Helper, sync
from ipc_channel.helper import guard, guard_shell
from ipc_channel.helper.command import Command

def tell(*values):
    print(json.dumps(values), flush=True)

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return list(map(int, file.read().split()))

kept = []

def start(command, says=None, **options):
    helper = sync.Helper(command, **options)
    kept.append(helper)
    channel = helper.start()
    assert says is None or channel.read() == says
    return helper
"""

WAIT = "\nsys.stdin.read()\n"


class Service:
    """A process that uses the library, and tells lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def told(self) -> Any:
        """Return what it tells next."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def guard(self) -> int:
        """Return the pid of its only guard."""
        found = guards_of(self.process.pid)
        assert len(found) == 1, [_told_of(one) for one in (self.process.pid, *found)]
        return found[0]

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def service(code: str, **options: Any) -> Iterator[Service]:
    """Run ``code`` in a process of its own, which is killed at the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-W", "default", "-c", _BEGIN + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions.restore,
        **options,
    ) as process:
        try:
            yield Service(process)
        finally:
            process.kill()


def guards_of(pid: int) -> list[int]:
    """Return the guards of a process, but not those of an earlier one with its number."""
    found = []
    begin = _started(pid)
    for one in Path("/proc").iterdir():
        if one.name.isdigit() and lives(int(one.name)):
            with contextlib.suppress(OSError):  # it has ended
                is_guard = (
                    b"the helpers of process %d," % pid in (one / "cmdline").read_bytes()
                )
                if is_guard and _started(one.name) >= begin:
                    found.append(int(one.name))
    return found


def _started(pid: int | str) -> int:
    """Return when a process was started, in ticks since the system was."""
    return int(_fields(pid)[19])


def _told_of(pid: int) -> str:
    """Return its state, its parent, its start and its command."""
    state, parent, *_ = fields = _fields(pid)
    command = Path(f"/proc/{pid}/cmdline").read_bytes()[:200]
    return f"{pid}: {state} of {parent}, started at {fields[19]}: {command!r}"


def _fields(pid: int | str) -> list[str]:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return stat.rpartition(b")")[2].decode().split()


def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_gone(*pids: int) -> None:
    """Wait until none of these processes runs."""
    until(lambda: not any(map(lives, pids)))
