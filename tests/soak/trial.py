"""One trial: what it is about, and the parts that both kinds share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar, get_args

from ipc_channel import Transport
from soak.tally import Tally, WrongError

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which something that should happen is taken not to."""
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)
AFTER_A_KILL = ("eof", "truncated", "reset")


@dataclass
class Trial:
    """Everything that chance decides about a trial, from the seed and its number."""

    seed: int
    number: int
    tally: Tally
    chance: random.Random = field(init=False)
    transport: Transport = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed}/{self.number}")
        self.transport = self.chance.choice(TRANSPORTS)

    def delay(self) -> float:
        """Return the seconds until a kill: mostly few, so that it hits the beginning, too."""
        return self.chance.expovariate(1 / 0.015)

    def count_kill(self, what: str) -> None:
        self.tally.kills[f"{what} over {self.transport}"] += 1

    def check_end(self, end: str | None, got: int) -> None:
        """Count an end after a kill; raise WrongError for one that tells of no kill."""
        self.tally.ends[f"{self.transport}: {end}"] += 1
        if end not in AFTER_A_KILL:
            raise WrongError(f"the end after a kill is '{end}', after {got} messages")


async def soon(what: str, awaitable: Awaitable[T]) -> T:
    """Return the result, or raise WrongError if it does not come."""
    try:
        return await asyncio.wait_for(awaitable, PATIENCE)
    except TimeoutError:
        raise WrongError(f"{what} did not end within {PATIENCE} s") from None


def kill(pid: int) -> None:
    """Kill a process of ours that has not been waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
