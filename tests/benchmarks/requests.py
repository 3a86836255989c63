"""``python -m benchmarks.requests``: what a call costs, side by side with other ways.

Every way has one helper, in Python, and all helpers stay alive. In each round each way does
each work, in random order; a ratio is taken within a round. Processes are not pinned. Run
it on an idle machine: the load is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from rich.console import Console
from rich.table import Table

from benchmarks.callers import WAYS, Call, Messages
from benchmarks.figures import Spread, spread

BASE = "requests"
CALLERS = 16  # tasks that call one after the other, where calls per second are measured
IN_FLIGHT = 1000


@dataclass(frozen=True)
class Work:
    """``tasks`` that call at once, with payloads of ``size``; ``count`` calls in all."""

    title: str
    tasks: int
    size: int
    count: int


WORKS = (
    Work("one call after the other, 64 B", 1, 64, 1000),
    Work(f"{IN_FLIGHT:,} calls in flight, 64 B", IN_FLIGHT, 64, 4 * IN_FLIGHT),
    Work(f"{CALLERS} callers, 64 B", CALLERS, 64, 2000),
    Work(f"{CALLERS} callers, 64 KiB", CALLERS, 2**16, 500),
)
Taken = tuple[float, float]
"""Seconds of a call when all are done, and the 99th percentile of a call's own time."""


async def measure(call: Call, work: Work, count: int) -> Taken:
    """Do ``count`` calls, check each answer, and return what they took."""
    payload = os.urandom(work.size)
    began = time.perf_counter()
    if isinstance(call, Messages) and work.tasks > 1:
        times = [0.0, 0.0]  # unknown, since nothing tells which echo belongs to what
        answers = await call.at_once(count, payload)
        if answers.count(payload) != count:
            raise ValueError("an echo is wrong")
    else:
        each = -(-count // work.tasks)
        loops = (repeat(call, each, payload) for _ in range(work.tasks))
        times = list(chain.from_iterable(await asyncio.gather(*loops)))
        count = len(times)
    return (time.perf_counter() - began) / count, statistics.quantiles(times, n=100)[98]


async def repeat(call: Call, count: int, payload: bytes) -> list[float]:
    """Call one after the other, and return the seconds of each call."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        if await call(payload) != payload:
            raise ValueError("an answer is wrong")
        times.append(time.perf_counter() - began)
    return times


def is_possible(work: Work, name: str) -> bool:
    """Whether a way can do it: messages without ids have one caller."""
    return name != "messages" or work.tasks != CALLERS


async def run(
    names: Iterable[str], rounds: int, scale: float
) -> dict[tuple[Work, str], list[Taken]]:
    """Return what each way took for each work in each round."""
    taken: dict[tuple[Work, str], list[Taken]] = {
        (work, name): [] for work in WORKS for name in names if is_possible(work, name)
    }
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        ways = {
            name: await stack.enter_async_context(WAYS[name](directory)) for name in names
        }
        for number in range(-1, rounds):  # the first does not count
            for work in WORKS:
                able = [name for name in ways if is_possible(work, name)]
                for name in random.sample(able, len(able)):
                    result = await measure(ways[name], work, int(work.count * scale) + 2)
                    if number >= 0:
                        taken[work, name].append(result)
    return taken


def table(taken: dict[tuple[Work, str], list[Taken]]) -> Table:
    """Return what is printed: medians, and ratios to requests with their spread."""
    result = Table(
        title="Calls of one helper in Python, from asyncio; requests are over a Unix socket"
    )
    result.add_column("work")
    for head in ("way", "calls/s", "µs a call", "p99, µs", "times requests", "p99"):
        result.add_column(head, justify="left" if head == "way" else "right")
    for (work, name), results in taken.items():
        base = taken[work, BASE]
        mean = statistics.median(one for one, _ in results)
        slow = statistics.median(one for _, one in results)
        pairs = list(zip(results, base, strict=True))
        ratio = spread(mine[0] / theirs[0] for mine, theirs in pairs)
        slows = spread(mine[1] / theirs[1] for mine, theirs in pairs)
        result.add_row(
            work.title,
            name,
            f"{1 / mean:,.0f}",
            f"{1e6 * mean:.1f}",
            f"{1e6 * slow:,.0f}" if slow else "",
            _ratio(ratio),
            _ratio(slows) if slow else "",
        )
    return result


def _ratio(found: Spread | None) -> str:
    assert found is not None
    return f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s bench_requests --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, metavar="WAY")
    parser.add_argument("--smoke", action="store_true", help="only whether all works")
    arguments = parser.parse_args()
    console = Console(width=120)
    before = os.getloadavg()[0]
    rounds, scale = (1, 0.01) if arguments.smoke else (arguments.rounds, 1)
    taken = asyncio.run(run(arguments.ways, rounds, scale))
    console.print(table(taken))
    console.print(f"load before {before:.1f}, after {os.getloadavg()[0]:.1f};")
    console.print(f"{os.cpu_count()} processors, {rounds} rounds; in parentheses")
    console.print("the 95 % confidence interval of the median, from 6 rounds on")


if __name__ == "__main__":
    main()
