"""What raw measurements come to: medians, their spread, and ratios within a round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.measure import Row

_DOUBT = 0.05  # how often the median of all rounds there could be may lie outside

ENOUGH = 6
"""Rounds without which nothing can be said with so little doubt."""


@dataclass(frozen=True)
class Spread:
    """The median over rounds, and between what it would lie if there were many more.

    That is all there were if these are fewer than ``ENOUGH``, and then it says little.
    """

    median: float
    low: float
    high: float
    rounds: int = ENOUGH

    def within(self, allows: Callable[[float], bool]) -> bool | None:
        """Return whether both ends are allowed; None if they differ, or say too little."""
        low, high = allows(self.low), allows(self.high)
        return low if low == high and self.rounds >= ENOUGH else None


def spread(values: Iterable[float]) -> Spread | None:
    """Return the spread of ``values``, or None if there are none."""
    numbers = sorted(values)
    if not numbers:
        return None
    cut = _left_out(len(numbers))
    median = statistics.median(numbers)
    return Spread(median, numbers[cut], numbers[-1 - cut], len(numbers))


def _left_out(count: int) -> int:
    """Return how many of ``count`` values may be left out at each end.

    A value is below the true median or above it as a coin falls, whatever the noise.
    """
    cut, chance = 0, 2 / 2**count
    while (chance := chance + 2 * math.comb(count, cut + 1) / 2**count) <= _DOUBT:
        cut += 1
    return cut


class Figures:
    """Values per message: ``wall`` and ``cpu`` in nanoseconds, ``memory`` in bytes.

    The CPU time is that of both processes.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[tuple[str, str], dict[int, Row]] = {}
        for row in rows:
            self._rows.setdefault((row.contender, row.workload), {})[row.round] = row

    def rounds(self, contender: str, workload: str, what: str = "wall") -> dict[int, float]:
        """Return the value of each round."""
        rows = self._rows.get((contender, workload), {})
        return {number: _value(row, what) for number, row in rows.items()}

    def spread(self, contender: str, workload: str, what: str = "wall") -> Spread | None:
        return spread(self.rounds(contender, workload, what).values())

    def ratio(
        self, one: tuple[str, str], other: tuple[str, str], what: str = "wall"
    ) -> Spread | None:
        """Return the spread of one contender's workload over another's, round by round."""
        return spread(_ratios(self.rounds(*one, what), self.rounds(*other, what)))

    def best(self, names: Iterable[str], workload: str, what: str = "wall") -> str | None:
        """Return which of ``names`` has the smallest median, or None if none was measured.

        What is not above 0 is no figure: memory that a process has freed meanwhile.
        """
        medians = {
            name: found.median
            for name in names
            if (found := self.spread(name, workload, what)) and found.median > 0
        }
        return min(medians, key=medians.__getitem__, default=None)


def _value(row: Row, what: str) -> float:
    total = {
        "wall": row.ns,
        "cpu": row.driver_cpu + row.peer_cpu,
        "memory": row.bytes,
    }[what]
    return total / row.messages


def _ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    return [
        ours[number] / theirs[number]
        for number in ours.keys() & theirs.keys()
        if theirs[number]
    ]
