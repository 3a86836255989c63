"""Rounds of pairs that take turns: A B C, A B C, so that noise hits all alike."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase

from benchmarks.build import Tools
from benchmarks.contenders import Contender
from benchmarks.machine import Cores
from benchmarks.processes import Pair, PairError
from benchmarks.workloads import FIRST, MANY, MEMORY, SINGLE, Scenario, Workload

STALL_SIZE = 1024  # bytes of the messages that are never read
_FIRST_COUNT = 2
_FIGURES = {"ns", "driver_cpu", "peer_cpu"}
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
    many=("ipc-*-asyncio", "ipc-pipe-uvloop", "streams-unix-[ad]*", "protocol-*"),
)
FULL = Mode("full", 150_000_000, 9, 6, 3)


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


@dataclass(frozen=True)
class Step:
    """Pairs that are alive at the same time and take turns."""

    round: int
    scenario: Scenario
    contenders: tuple[Contender, ...]
    workloads: tuple[Workload, ...]

    @property
    def turns(self) -> int:
        """How many turns are taken, if all can do all: to start, and for each workload."""
        return len(self.contenders) * (1 + len(self.workloads))


Watch = Callable[[str, str], None]
"""Called with a contender and what it begins to do."""


@dataclass
class Run:
    """Does steps and keeps what came of them."""

    mode: Mode
    tools: Tools
    cores: tuple[Cores, Cores]
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.Random)

    def do(self, step: Step, watch: Watch) -> None:
        """Do each workload with all pairs before the next; note failures.

        A pair that is not at work waits for its order, and costs no CPU time.
        """
        with contextlib.ExitStack() as stack:
            turns = [
                stack.enter_context(contextlib.closing(self._turns(step, one, watch)))
                for one in step.contenders
            ]
            while turns:
                self.chance.shuffle(turns)  # each workload in an order of its own
                turns = [one for one in turns if self._goes_on(one)]

    def _goes_on(self, turns: Iterator[None]) -> bool:
        """Let a pair take a turn; return whether there may be another."""
        try:
            next(turns)
        except StopIteration:
            return False
        except PairError as error:
            self.failures.append(str(error))
            return False
        return True

    def _turns(
        self, step: Step, contender: Contender, watch: Watch
    ) -> Generator[None, None, None]:
        """Start a pair, then do one workload a turn."""
        channels, memory = step.scenario.channels, step.scenario.memory
        watch(contender.name, step.scenario.name)
        with Pair(contender, self.tools, self.cores, channels, memory=memory) as pair:
            if memory:
                self._memory(step, contender, pair)
            else:
                yield from self._work(step, contender, pair, watch)

    def _work(
        self, step: Step, contender: Contender, pair: Pair, watch: Watch
    ) -> Iterator[None]:
        first = FIRST if step.scenario is SINGLE else f"{FIRST}-{step.scenario.name}"
        self._keep(step, contender, first, 1, ns=pair.first)
        for workload in step.workloads:
            yield
            if workload.name not in contender.unable:
                watch(contender.name, workload.title)
                count, report = self._measure(step, contender, pair, workload)
                self._keep(step, contender, workload.name, count, **report)
        yield  # to end only when the others have done their work, too

    def _measure(
        self, step: Step, contender: Contender, pair: Pair, workload: Workload
    ) -> tuple[int, dict[str, int]]:
        """Measure with the count that the first round has found, after a tenth of it."""
        key = contender.name, workload.name
        if key not in self.counts:
            self.counts[key] = calibrate(pair, workload, step.scenario, self.mode.target)
        count = self.counts[key]
        work(pair, workload, -(-count // _WARM_UP))
        return count, work(pair, workload, count)

    def _memory(self, step: Step, contender: Contender, pair: Pair) -> None:
        channels = step.scenario.channels
        used = pair.memory() - pair.before
        self._keep(step, contender, "memory-idle", channels, bytes=used)
        pair.kill()
        pair.order("stall", 0, STALL_SIZE)
        used = pair.memory() - pair.before
        self._keep(step, contender, "memory-stalled", channels, bytes=used)

    def _keep(
        self, step: Step, contender: Contender, workload: str, messages: int, **figures: int
    ) -> None:
        self.rows.append(Row(step.round, contender.name, workload, messages, **figures))

    def raw(self) -> list[dict[str, object]]:
        """Return every measurement as plain data, without what is 0."""
        return [
            {key: value for key, value in asdict(row).items() if value != 0}
            | {"round": row.round}
            for row in self.rows
        ]


def work(pair: Pair, workload: Workload, count: int) -> dict[str, int]:
    """Have a workload done, and return its figures; a figure that is missing would be 0."""
    report = pair.order(workload.kind, count, workload.size)
    if report.keys() != _FIGURES or report["ns"] <= 0:
        raise PairError(f"{workload.name} was answered by {report}")
    return report


def calibrate(pair: Pair, workload: Workload, scenario: Scenario, target: int) -> int:
    """Raise the count until it takes ``target``, and return it.

    What counts is the least time of a message that was seen, so that a pause of the
    machine does not end this too early.
    """
    channels = scenario.channels
    count = _FIRST_COUNT * channels
    least = math.inf
    while True:
        least = min(least, work(pair, workload, count)["ns"] / count)
        if least * count >= target:
            return count
        # At least double it; at most tenfold, since a first message may be slow.
        wanted = 1.2 * target / least
        each = math.ceil(min(max(wanted, 2 * count), 10 * count) / channels)
        count = each * channels


def plan(
    mode: Mode,
    contenders: Sequence[Contender],
    wanted: Callable[[str], bool],
    chance: random.Random,
) -> Iterator[Step]:
    """Give the steps of a run: round by round, scenario by scenario.

    The order is left to ``chance``, so that no contender always follows the same one.
    """
    scenarios = (SINGLE, *MANY, MEMORY)
    for number in range(max(map(mode.rounds_of, scenarios))):
        for scenario in scenarios:
            if number < mode.rounds_of(scenario):
                admitted = [one for one in contenders if mode.admits(one, scenario)]
                chance.shuffle(admitted)
                yield from _steps(number, scenario, admitted, wanted)


def _steps(
    number: int,
    scenario: Scenario,
    contenders: list[Contender],
    wanted: Callable[[str], bool],
) -> Iterator[Step]:
    """Give one step for all if one channel is enough, else one for each contender."""
    workloads = tuple(work for work in scenario.workloads if wanted(work.name))
    able = tuple(one for one in contenders if _has_work(one, scenario, workloads, wanted))
    for group in [able] if scenario is SINGLE else [(one,) for one in able]:
        if group:
            yield Step(number, scenario, group, workloads)


def _has_work(
    contender: Contender,
    scenario: Scenario,
    workloads: Sequence[Workload],
    wanted: Callable[[str], bool],
) -> bool:
    if scenario.memory:
        return wanted("memory") and "memory" not in contender.unable
    alone = scenario is SINGLE and wanted(FIRST)
    return alone or any(work.name not in contender.unable for work in workloads)
