"""Kill helpers of a pool at random, and check the answer of every call.

Each call is answered with the digest of its own payload, or fails because its helper was
killed; none waits for ever, each kill is told as a loss, and the memory of the service does
not grow. What chance decides repeats with ``--seed``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import os
import random
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ipc_channel import (
    Helper,
    HelperPool,
    IPCChannelError,
    SupervisorEvent,
    UnansweredError,
)
from ipc_channel.pool.recycling import memory_of
from soak.service import LOOPS

EXAMPLES = Path(__file__).parents[2] / "python" / "examples"
PYTHON = {
    "Python": [sys.executable, str(EXAMPLES / "digest_requests.py")],
    "Python-blocking": [sys.executable, str(Path(__file__).with_name("digest_helper.py"))],
}
_PATIENCE = 120.0
"""Seconds after which a call is taken to hang."""
_CALLERS = 32
_WARM_UP = 0.2  # of the calls, after which the memory must not grow
_GROWTH = 8 * 2**20  # bytes that it may grow all the same
_MOST_FAILURES = 20


class Run:
    """One run: its calls, its kills, and what was wrong."""

    def __init__(self, pool: HelperPool, calls: int, kills: int, seed: int) -> None:
        self.pool = pool
        self.calls = calls
        self.kills = kills
        self.numbers: Iterator[int] = iter(range(calls))
        self.ends: Counter[str] = Counter()
        self.killed: set[int] = set()
        self.wrong: list[str] = []
        self.memory: list[int] = []
        self._chance = random.Random(seed)
        self._block = self._chance.randbytes(2**17)
        self._deadline = float("inf")

    async def run(self, seconds: float) -> None:
        """Make the calls, some at a time, until they are done or the time is up."""
        self._deadline = time.monotonic() + seconds
        callers = [asyncio.create_task(self._call()) for _ in range(_CALLERS)]
        killing = asyncio.create_task(self._kill())
        try:
            await asyncio.gather(*callers)
        finally:
            killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
        await self.pool.drain()
        await self._check_losses()

    async def _call(self) -> None:
        for number in self.numbers:
            if time.monotonic() > self._deadline or len(self.wrong) >= _MOST_FAILURES:
                return
            payload = self._payload(number)
            try:
                async with asyncio.timeout(_PATIENCE):
                    answer = await self.pool.call(payload, idempotent=number % 2 == 0)
            except UnansweredError:
                self.ends["failed: unanswered"] += 1
            except TimeoutError:
                self.wrong.append(f"call {number} had no end within {_PATIENCE} s")
            except IPCChannelError as error:
                self.wrong.append(f"call {number}: {type(error).__name__}: {error}")
            else:
                self.ends["answered"] += 1
                if answer != hashlib.sha256(payload).hexdigest().encode("ascii"):
                    self.wrong.append(f"call {number} got another answer: {answer!r}")
            self._look_at_memory()

    def _payload(self, number: int) -> bytes:
        size = 2**16 if number % 1000 == 0 else number % 300
        start = number % (len(self._block) - size)
        return b"%d " % number + self._block[start : start + size]

    async def _kill(self) -> None:
        """Kill a helper after each share of the calls, connected or not."""
        for number in range(1, self.kills + 1):
            while self.pool.counters.done < number * self.calls / (self.kills + 1):
                await asyncio.sleep(0.01)
            while not (pids := self._victims()):
                await asyncio.sleep(0.01)
            pid = self._chance.choice(pids)
            self.killed.add(pid)
            os.kill(pid, signal.SIGKILL)

    def _victims(self) -> list[int]:
        """Return the helpers that were not killed yet."""
        pids = [one.pid for one in self.pool.counters.helpers]
        return [pid for pid in pids if pid is not None and pid not in self.killed]

    async def _check_losses(self) -> None:
        """Each kill has to be told as a loss, and nothing else."""
        deadline = time.monotonic() + _PATIENCE
        lost = -1
        while lost != len(self.killed) and time.monotonic() < deadline:
            lost = sum(one.lost for one in self.pool.counters.helpers)
            await asyncio.sleep(0.05)
        if lost != len(self.killed):
            self.wrong.append(
                f"{len(self.killed)} helpers were killed, and {lost} were lost"
            )

    def _look_at_memory(self) -> None:
        done = self.ends.total()
        if done % max(self.calls // 20, 1) == 0:
            self.memory.append(memory_of(os.getpid()))
            print(f"{done:,} calls, {self.memory[-1] / 2**20:.1f} MiB", flush=True)

    def check(self) -> None:
        """Compare the sums."""
        counters = self.pool.counters
        if counters.done != self.ends.total() + len(self.wrong):
            self.wrong.append(f"{self.ends.total()} calls had an end, and {counters} says")
        if counters.waiting or counters.in_flight:
            self.wrong.append(f"calls are left: {counters}")
        later = self.memory[int(len(self.memory) * _WARM_UP) :]
        if later and later[-1] > later[0] + _GROWTH:
            self.wrong.append(f"the memory has grown: {later} bytes")


async def work(options: argparse.Namespace) -> Run:
    """Make the run, with a pool that has a place for each of the helpers, at least."""
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
    commands = PYTHON | {
        name: shlex.split(command)
        for name, _, command in (text.partition("=") for text in options.helper)
    }
    makers = [
        partial(Helper, command, name=name, grace=30) for name, command in commands.items()
    ]
    events: Counter[str] = Counter()

    def count(event: SupervisorEvent) -> None:
        events[event.kind] += 1

    settings: dict[str, Any] = {"restarts": None, "backoff": (0.01, 0.1)}
    pool = HelperPool(*makers, size=max(4, len(makers)), on_event=count, **settings)
    run = Run(pool, options.calls, options.kills, options.seed)
    async with pool:
        await run.run(options.seconds)
        run.check()
        run.ends["retried"] = pool.counters.retried
    gc.collect()
    run.wrong += complaints
    run.ends.update({f"event {kind}": count for kind, count in events.items()})
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a run, print the figures, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="soak.pool", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="100,000 unless given")
    parser.add_argument("--kills", type=int, default=30, help="30 unless given")
    parser.add_argument("--seconds", type=float, default=3600, help="an hour unless given")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--helper", action="append", default=[], metavar="NAME=COMMAND")
    options = parser.parse_args(arguments)
    print(f"soak.pool: seed {options.seed}, {options.loop}", flush=True)
    start = time.monotonic()
    with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
        run = runner.run(work(options))
    took = time.monotonic() - start
    print(f"{len(run.killed):,} kills in {took:.0f} s")
    for what, count in sorted(run.ends.items()):
        print(f"{count:10,}  {what}")
    for text in run.wrong:
        print(f"WRONG: {text}")
    print("soak.pool: " + ("FAILED" if run.wrong else "each call has had its own end"))
    return int(bool(run.wrong) or not run.killed)


if __name__ == "__main__":
    sys.exit(main())
