"""What raw measurements come to: medians, their spread, and ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.measure import Row


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over rounds."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """Return the spread of ``values``, or None if there are none."""
    numbers = list(values)
    if not numbers:
        return None
    if len(numbers) == 1:
        return Spread(numbers[0], numbers[0], numbers[0])
    low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return Spread(median, low, high)


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
        """Return who has the smallest median of ``names``, or None if none was measured."""
        medians = {
            name: found.median
            for name in names
            if (found := self.spread(name, workload, what)) is not None
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
