"""Rounds of pairs, one after the other: A B C, A B C, so that noise hits all alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase

from benchmarks.build import Tools
from benchmarks.contenders import Contender
from benchmarks.processes import Pair, PairError
from benchmarks.workloads import FIRST, MANY, MEMORY, SINGLE, Scenario, Workload

STALL_SIZE = 1024  # bytes of the messages that nobody reads
_FIRST_COUNT = 2
_WARM_UP = 10  # one message to warm up for so many that count


@dataclass(frozen=True)
class Mode:
    """How long a run takes; ``target`` is the least duration of a measurement."""

    name: str
    target: int  # nanoseconds
    rounds: int
    many_rounds: int
    memory_rounds: int
    many: tuple[str, ...] = ("*",)
    """Patterns of those that are started with many channels."""

    def rounds_of(self, scenario: Scenario) -> int:
        if scenario.single:
            return self.rounds
        return self.memory_rounds if scenario.memory else self.many_rounds

    def admits(self, contender: Contender, scenario: Scenario) -> bool:
        if not scenario.admits(contender):
            return False
        return scenario.single or any(fnmatchcase(contender.name, one) for one in self.many)


SMOKE = Mode("smoke", 0, 1, 1, 1)
QUICK = Mode(
    "quick",
    50_000_000,
    rounds=3,
    many_rounds=2,
    memory_rounds=1,
    many=("ipc-*-asyncio", "ipc-pipe-uvloop", "streams-unix-asyncio", "pyzmq"),
)
FULL = Mode("full", 500_000_000, 11, 5, 3)


@dataclass(frozen=True)
class Row:
    """One raw measurement. ``messages`` are round trips, messages, pairs or channels."""

    round: int
    contender: str
    workload: str
    messages: int
    ns: int = 0
    driver_cpu: int = 0
    peer_cpu: int = 0
    bytes: int = 0


@dataclass
class Step:
    """A pair that is to be started once."""

    round: int
    scenario: Scenario
    contender: Contender
    workloads: tuple[Workload, ...]


@dataclass
class Run:
    """Does steps and keeps what came of them."""

    mode: Mode
    tools: Tools
    cores: tuple[int | None, int | None]
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def do(self, step: Step, watch: Callable[[str], None]) -> None:
        """Start the pair of a step and do its work; note a failure."""
        try:
            pair = Pair(
                step.contender,
                self.tools,
                self.cores,
                step.scenario.channels,
                memory=step.scenario.memory,
            )
            with pair:
                if step.scenario.memory:
                    self._memory(step, pair)
                else:
                    self._work(step, pair, watch)
        except PairError as error:
            self.failures.append(str(error))

    def _work(self, step: Step, pair: Pair, watch: Callable[[str], None]) -> None:
        first = FIRST if step.scenario is SINGLE else f"{FIRST}-{step.scenario.name}"
        self._keep(step, first, 1, ns=pair.first)
        for workload in step.workloads:
            watch(workload.title)
            count, report = self._measure(step, pair, workload)
            self._keep(step, workload.name, count, **report)

    def _measure(
        self, step: Step, pair: Pair, workload: Workload
    ) -> tuple[int, dict[str, int]]:
        """Measure with the count of earlier rounds; the first one finds it."""
        key = step.contender.name, workload.name
        count = self.counts.get(key)
        if count is None:
            count, report = calibrate(pair, workload, step.scenario, self.mode.target)
            self.counts[key] = count
            return count, report
        pair.order(workload.kind, -(-count // _WARM_UP), workload.size)
        return count, pair.order(workload.kind, count, workload.size)

    def _memory(self, step: Step, pair: Pair) -> None:
        channels = step.scenario.channels
        self._keep(step, "memory-idle", channels, bytes=pair.memory() - pair.before)
        pair.kill()
        pair.order("stall", 0, STALL_SIZE)
        self._keep(step, "memory-stalled", channels, bytes=pair.memory() - pair.before)

    def _keep(self, step: Step, workload: str, messages: int, **figures: int) -> None:
        name = step.contender.name
        self.rows.append(Row(step.round, name, workload, messages, **figures))

    def raw(self) -> list[dict[str, object]]:
        """Return every measurement as plain data, without what is 0."""
        return [
            {key: value for key, value in asdict(row).items() if value != 0}
            | {"round": row.round}
            for row in self.rows
        ]


def calibrate(
    pair: Pair, workload: Workload, scenario: Scenario, target: int
) -> tuple[int, dict[str, int]]:
    """Raise the count until a measurement takes ``target``; return it and the last one."""
    channels = scenario.channels
    count = _FIRST_COUNT * channels
    while True:
        report = pair.order(workload.kind, count, workload.size)
        if report["ns"] >= target:
            return count, report
        # At least double it; at most tenfold, since a first message may be slow.
        wanted = 1.2 * count * target / max(report["ns"], 1)
        each = math.ceil(min(max(wanted, 2 * count), 10 * count) / channels)
        count = each * channels


def plan(
    mode: Mode, contenders: Sequence[Contender], wanted: Callable[[str], bool]
) -> Iterator[Step]:
    """Give the steps of a run: round by round, scenario by scenario."""
    scenarios = (SINGLE, *MANY, MEMORY)
    for number in range(max(map(mode.rounds_of, scenarios))):
        for scenario in scenarios:
            if number < mode.rounds_of(scenario):
                admitted = [one for one in contenders if mode.admits(one, scenario)]
                yield from _steps(number, scenario, admitted, wanted)


def _steps(
    number: int,
    scenario: Scenario,
    contenders: list[Contender],
    wanted: Callable[[str], bool],
) -> Iterator[Step]:
    for contender in contenders:
        workloads = tuple(
            work
            for work in scenario.workloads
            if wanted(work.name) and work.name not in contender.unable
        )
        alone = scenario is SINGLE and wanted(FIRST)
        memory = scenario.memory and wanted("memory") and "memory" not in contender.unable
        if workloads or alone or memory:
            yield Step(number, scenario, contender, workloads)
