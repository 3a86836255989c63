"""What ``Helper`` adds to a start: ``nox -s start_cost``.

A start is over once the first message has come back. By hand it takes a server,
``asyncio.create_subprocess_exec`` and ``connect``. The ways are interleaved, and a ratio is
taken within each round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ipc_channel import Helper, make_ipc_channel

Start = Callable[[list[str]], Awaitable[float]]


async def by_hand(command: list[str]) -> float:
    start = time.perf_counter()
    channel = make_ipc_channel(transport="unix")
    told = {"IPC_CHANNEL_IN": channel.out_path, "IPC_CHANNEL_OUT": channel.in_path}
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | told)
    assert await channel.connect()
    await channel.write(b"x")
    assert await channel.read() == b"x"
    taken = time.perf_counter() - start
    await channel.close()
    await process.wait()
    return taken


def with_helper(**options: Any) -> Start:
    async def start(command: list[str]) -> float:
        begin = time.perf_counter()
        helper = Helper(command, **options)
        channel = await helper.start()
        await channel.write(b"x")
        assert await channel.read() == b"x"
        taken = time.perf_counter() - begin
        await helper.stop()
        return taken

    return start


WAYS: dict[str, Start] = {
    "by hand": by_hand,
    "Helper": with_helper(),
    "Helper without captured output": with_helper(stderr="inherit"),
    "Helper without output and guard": with_helper(
        stderr="inherit", end_with_service=False
    ),
}


async def measure(command: list[str], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way in each round, the first of which does not count."""
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds + 1):
        for name, start in WAYS.items():
            seconds = await start(command)
            if number > 0:
                taken[name].append(seconds)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("command", nargs="+", help="a helper that sends messages back")
    arguments = parser.parse_args()
    taken = asyncio.run(measure(arguments.command, arguments.rounds))
    base = taken["by hand"]
    for name, seconds in taken.items():
        ratios = sorted(a / b for a, b in zip(seconds, base, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
        print(
            f"{name:32} {1000 * statistics.median(seconds):7.2f} ms,"
            f" {statistics.median(ratios):.2f} × by hand (quartiles {low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
