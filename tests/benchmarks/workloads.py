"""What is done: the workloads, and the scenarios that start a pair for some of them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contenders import Contender

SIZES = {"64": 64, "1k": 2**10, "64k": 2**16, "1m": 2**20, "16m": 2**24}


@dataclass(frozen=True)
class Workload:
    """One order for a driver; ``kind`` is the word of the order."""

    name: str
    kind: str
    size: int
    title: str


@dataclass(frozen=True)
class Scenario:
    """A pair that is started with ``channels`` channels and does ``workloads``."""

    name: str
    channels: int
    workloads: tuple[Workload, ...]
    memory: bool = False

    @property
    def single(self) -> bool:
        """Whether its workloads need one channel only, so that every contender can take part."""
        return not self.name.startswith(("channels", "memory"))

    def admits(self, contender: Contender) -> bool:
        return self.single or contender.many


def _size(label: str) -> str:
    return {"64": "64 B", "1k": "1 KiB", "64k": "64 KiB", "1m": "1 MiB", "16m": "16 MiB"}[
        label
    ]


def _workload(short: str, kind: str, title: str, label: str) -> Workload:
    return Workload(f"{short}-{label}", kind, SIZES[label], f"{title} {_size(label)}")


ROUND_TRIPS = tuple(
    _workload("rt", "round_trip", "round trip", label) for label in ("64", "64k")
)
ONE_WAY = tuple(_workload("ow", "one_way", "one way", label) for label in SIZES)
BOTH_WAYS = tuple(_workload("both", "both", "both ways", label) for label in ("1k", "64k"))
WORKLOADS = (*ROUND_TRIPS, *ONE_WAY, *BOTH_WAYS)

FIRST = "first"
"""Name of the time from "go" to the first message: every pair of one channel has it."""

CHANNEL_COUNTS = (1, 10, 100, 500)


def channels_workload(count: int) -> Workload:
    title = f"round trip 64 B, {count} channel{'s' * (count > 1)}"
    return Workload(f"channels-{count}", "channels", 64, title)


SINGLE = Scenario("single", 1, WORKLOADS)
MANY = tuple(
    Scenario(f"channels-{count}", count, (channels_workload(count),))
    for count in CHANNEL_COUNTS
)
MEMORY_CHANNELS = 20
MEMORY = Scenario("memory", MEMORY_CHANNELS, (), memory=True)
