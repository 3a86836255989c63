"""A Python service that has a pool of helpers digest each file below a directory.

The helpers are in other languages, and each is reached over every transport. One of them
is killed at work: its calls go to the others, and another process takes its place::

    python digest_pool.py DIRECTORY --helper Go=./requests --helper Node="node digest.js"
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ipc_channel import Helper, HelperPool, PoolCounters, Transport, make_ipc_channel

ALL_TRANSPORTS: tuple[Transport, ...] = ("named_pipe", "unix", "tcp")
TRANSPORTS = ("tcp",) if sys.platform == "win32" else ALL_TRANSPORTS
SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has but one way to kill


def find_files(root: Path) -> list[Path]:
    """Return the files below a directory that are neither hidden nor installed there."""
    return sorted(
        path
        for path in root.rglob("[!.]*")
        if path.is_file()
        and not any(
            part.startswith(".") or part in ("node_modules", "__pycache__")
            for part in path.relative_to(root).parts
        )
    )


def start(name: str, command: list[str], transport: Transport) -> Helper:
    """Return a helper that the pool may start, now or in place of another one."""
    channel = make_ipc_channel(transport=transport)
    return Helper(command, channel, name=f"{name} over {transport}")


async def digest(pool: HelperPool, paths: list[Path], expected: list[str]) -> int:
    """Have the pool digest all files, and kill a helper; return how many are right."""
    contents: Iterator[bytes] = (path.read_bytes() for path in paths)
    right = count = 0
    async for answer in pool.map(contents, idempotent=True, timeout=30):
        assert isinstance(answer, bytes)
        right += answer.decode() == expected[count]
        count += 1
        if count == len(paths) // 2:
            kill_busiest(pool.counters)
    return right


def kill_busiest(counters: PoolCounters) -> None:
    """Kill the process of the helper that has the most calls."""
    running = [(one.in_flight, one.pid) for one in counters.helpers if one.pid is not None]
    os.kill(max(running)[1], SIGKILL)


def tabulate(counters: PoolCounters, seconds: float) -> Table:
    table = Table("helper", title="Every file there, and its digest back")
    for column in ("calls answered", "per second", "processes lost"):
        table.add_column(column, justify="right")
    for one in counters.helpers:
        rate = f"{one.answered / seconds:,.0f}"
        name = one.name.partition(" (")[0]  # without the command
        table.add_row(name, f"{one.answered:,}", rate, str(one.lost))
    return table


async def run(makers: Sequence[Callable[[], Helper]], paths: list[Path]) -> bool:
    """Show the work of a pool; return whether each file has got its digest."""
    console = Console()
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    with Progress(console=console) as progress:
        task = progress.add_task("digesting", total=len(paths))

        def show(counters: PoolCounters) -> None:
            progress.update(task, completed=counters.done)

        async with HelperPool(*makers, size=len(makers), on_progress=show) as pool:
            began = time.perf_counter()
            right = await digest(pool, paths, expected)
            seconds, counters = time.perf_counter() - began, pool.counters
    console.print(tabulate(counters, seconds))
    console.print(f"{right:,} of {len(paths):,} digests are right")
    console.print(f"calls sent again, after a helper was killed: {counters.retried}")
    return right == len(paths)


def main() -> int:
    parser = argparse.ArgumentParser(description="Have a pool of helpers compute digests.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--helper", action="append", required=True, metavar="NAME=COMMAND")
    parser.add_argument("--times", type=int, default=1, help="how often, 1 unless given")
    arguments = parser.parse_args()
    makers = [
        functools.partial(start, name, shlex.split(command), transport)
        for name, _, command in (text.partition("=") for text in arguments.helper)
        for transport in TRANSPORTS
    ]
    paths = find_files(arguments.directory.resolve()) * arguments.times
    if not paths:
        parser.error(f"there is no file in {arguments.directory}")
    return 0 if asyncio.run(run(makers, paths)) else 1


if __name__ == "__main__":
    sys.exit(main())
