"""The benchmarks themselves: that they compute and run, not what they find."""

from __future__ import annotations

import io
import random
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import ClassVar, Self

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.__main__ import main, show
from benchmarks.async_end import ChannelWork
from benchmarks.build import Tools
from benchmarks.contenders import BY_NAME, CONTENDERS, Contender
from benchmarks.figures import Figures, Spread
from benchmarks.goals import GOALS, Goal
from benchmarks.measure import QUICK, SMOKE, Row, Run, calibrate, plan
from benchmarks.processes import PairError
from benchmarks.workloads import SINGLE, WORKLOADS

NO_CORES = (None, None)
RUNNABLE = (
    *("limit-pipe-python", "limit-tcp-python", "limit-tcp-owned"),
    *("ipc-pipe-asyncio", "ipc-tcp-uvloop", "protocol-unix-uvloop", "stdio-asyncio"),
)


def row(contender: str, ns: int, number: int = 0) -> Row:
    return Row(number, contender, "rt-64", 10, ns=ns, driver_cpu=ns, peer_cpu=ns)


def run_smoke(
    contenders: list[Contender], wanted: Callable[[str], bool] = lambda _: True
) -> Run:
    run = Run(SMOKE, Tools(), NO_CORES)
    for step in plan(SMOKE, contenders, wanted, random.Random(1)):
        run.do(step, lambda *_: None)
    return run


def test_a_ratio_is_of_rounds_and_then_the_median() -> None:
    rows = [row("a", 10, 0), row("a", 100, 1), row("a", 30, 2)]
    rows += [row("b", 10, 0), row("b", 50, 1), row("b", 10, 2), row("b", 1, 3)]
    found = Figures(rows).ratio(("a", "rt-64"), ("b", "rt-64"))
    assert found == Spread(2, 1, 3, 3)


def test_values_are_per_message_and_of_both_processes() -> None:
    figures = Figures([row("a", 100)])
    assert figures.rounds("a", "rt-64") == {0: 10}
    assert figures.rounds("a", "rt-64", "cpu") == {0: 20}
    assert figures.spread("b", "rt-64") is None


def test_goals_go_both_ways() -> None:
    both = [(row("a", 100, number), row("b", 250, number)) for number in range(6)]
    figures = Figures(chain.from_iterable(both))
    assert Goal("rt-64", "a", 0.4, "b").met(figures) is True
    assert Goal("rt-64", "a", 0.3, "b").met(figures) is False
    assert Goal("rt-64", "a", 2.5, "b", faster=True).met(figures) is True
    assert Goal("rt-64", "a", 2.6, "b", faster=True).met(figures) is False
    assert Goal("rt-64", "a", 2.6, "c").met(figures) is None


def test_goals_name_what_exists() -> None:
    for goal in GOALS:
        assert goal.ours in BY_NAME
        assert goal.theirs in ("", "the best peer", *BY_NAME)


def test_all_take_part_in_each_round_in_an_order_of_its_own() -> None:
    steps = [
        one
        for one in plan(QUICK, CONTENDERS, lambda _: True, random.Random(1))
        if one.scenario is SINGLE
    ]
    orders = [[one.name for one in step.contenders] for step in steps]
    assert [step.round for step in steps] == list(range(QUICK.rounds))
    assert all(sorted(order) == sorted(BY_NAME) for order in orders)
    assert len(set(map(tuple, orders))) == QUICK.rounds


class FakePair:
    """A pair without processes; ``broken`` names what it fails to do."""

    first = 1
    broken = ""
    figures: ClassVar[dict[str, int]] = {}
    alive: ClassVar[set[str]] = set()

    def __init__(self, contender: Contender, *_: object, **__: object) -> None:
        self._name = contender.name

    def __enter__(self) -> Self:
        self.alive.add(self._name)
        return self

    def __exit__(self, *_: object) -> None:
        self.alive.remove(self._name)

    def order(self, kind: str, count: int, size: int) -> dict[str, int]:
        if f"{self._name} {kind}" == self.broken:
            raise PairError("broken")
        return self.figures or {"ns": 1, "driver_cpu": len(self.alive), "peer_cpu": 1}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakePair]:
    monkeypatch.setattr("benchmarks.measure.Pair", FakePair)
    monkeypatch.setattr(FakePair, "alive", set())
    return FakePair


def run_names(names: Sequence[str], workloads: Sequence[str]) -> Run:
    return run_smoke([BY_NAME[name] for name in names], wanted=workloads.__contains__)


def test_each_workload_is_done_by_all_before_the_next(fake: type[FakePair]) -> None:
    run = run_names(("limit-tcp-python", "ipc-tcp-uvloop"), ("rt-64", "ow-1k"))
    done = [one.workload for one in run.rows]
    assert done == ["first", "first", "rt-64", "rt-64", "ow-1k", "ow-1k"]
    assert all(one.driver_cpu == 2 for one in run.rows[2:])  # all were alive
    assert fake.alive == set()


def test_a_pair_that_fails_leaves_its_round_and_the_others_go_on(
    fake: type[FakePair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "broken", "limit-tcp-python round_trip")
    run = run_names(("limit-tcp-python", "ipc-tcp-uvloop"), ("rt-64", "ow-1k"))
    done = {(one.contender, one.workload) for one in run.rows}
    assert run.failures == ["broken"]
    assert ("limit-tcp-python", "ow-1k") not in done
    assert ("ipc-tcp-uvloop", "ow-1k") in done
    assert fake.alive == set()


@pytest.mark.parametrize(
    "figures",
    [
        {"ns": 0, "driver_cpu": 1, "peer_cpu": 1},
        {"ns": 1, "driver_cpu": 1},
        {"ns": 1, "peer_cpu": 1},
        {"driver_cpu": 1, "peer_cpu": 1},
    ],
)
def test_a_figure_that_is_missing_is_a_failure(
    figures: dict[str, int], fake: type[FakePair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "figures", figures)
    run = run_names(("limit-tcp-python",), ("rt-64",))
    assert run.failures == [f"rt-64 was answered by {figures}"]


def test_a_pause_of_the_machine_does_not_end_the_calibration() -> None:
    counts = []

    class Pausing:
        def order(self, kind: str, count: int, size: int) -> dict[str, int]:
            counts.append(count)
            ns = 10 * count + (50_000 if len(counts) == 2 else 0)
            return {"ns": ns, "driver_cpu": 1, "peer_cpu": 1}

    assert calibrate(Pausing(), WORKLOADS[0], SINGLE, 50_000) == 6000  # type: ignore[arg-type]
    assert counts == [2, 20, 200, 2000, 6000]


async def test_only_the_round_trips_are_on_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    clock = time.perf_counter_ns

    def logged_clock() -> int:
        seen.append("clock")
        return clock()

    class Echo:
        def __init__(self) -> None:
            self._messages = deque[bytes]()

        async def write(self, data: bytes) -> None:
            seen.append("order" if data == b"echo 2" else "message")
            self._messages.append(data)

        async def read(self) -> bytes:
            last = len(self._messages) == 1
            if last:
                seen.append("acknowledgement")
            return self._messages.popleft() if last else self._messages.pop()

        async def close(self) -> None:
            pass

    monkeypatch.setattr("benchmarks.async_end.time.perf_counter_ns", logged_clock)
    await ChannelWork([Echo(), Echo()]).channels(4, b"x")
    messages = ["clock", *["message"] * 4, "clock"]
    assert seen == [*["order"] * 2, *messages, *["acknowledgement"] * 2]


def test_all_pairs_end_when_a_run_is_interrupted(fake: type[FakePair]) -> None:
    def watch(name: str, doing: str) -> None:
        if len(fake.alive) == 2:
            raise KeyboardInterrupt

    two = [BY_NAME["limit-tcp-python"], BY_NAME["ipc-tcp-uvloop"]]
    [step] = plan(SMOKE, two, "rt-64".__eq__, random.Random(1))
    with pytest.raises(KeyboardInterrupt) as caught:
        Run(SMOKE, Tools(), NO_CORES).do(step, watch)
    assert fake.alive == set(), caught  # which keeps what was not closed


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_pair_does_every_workload(name: str) -> None:
    run = run_smoke([BY_NAME[name]])
    assert run.failures == []
    done = {one.workload for one in run.rows}
    assert done >= {work.name for work in WORKLOADS}
    assert ("memory-stalled" in done) == BY_NAME[name].many


def test_a_failure_is_told_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Tools, "peer", lambda *_: ["sh", "-c", "echo woe >&2; exit 3"])
    run = run_smoke([BY_NAME["ipc-pipe-asyncio"]])
    assert run.failures
    assert all("woe" in text for text in run.failures)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (["-c", "limit-*", "-c", "none-*"], "no contender has a name like 'none-*'"),
        (["-w", "rt-*", "-w", "rt-65"], "no workload has a name like 'rt-65'"),
        (["-c", "limit-tcp-c", "-w", "memory"], "none of these contenders does any"),
        (
            ["-c", "go-*", "--go", "no/go"],
            "no/go is missing; it is needed by: go-pipe, go-unix, go-tcp",
        ),
        (
            ["-c", "node-tcp", "--node", "no/node"],
            "no/node is missing; it is needed by: node-tcp",
        ),
        (["-c", "limit-tcp-c"], "a C compiler (or the package ziglang) is missing"),
        (["-w", "first", "--output", "/dev/null/there"], "cannot write to /dev/null/there"),
        (["-w", "first", "--output", "."], "cannot write to .: no plots"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_measured(
    arguments: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_module(name: str) -> None:
        raise ImportError("no plots")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    monkeypatch.setattr("benchmarks.build.c_compiler", list)
    monkeypatch.setattr("benchmarks.__main__.import_module", no_module)
    monkeypatch.setattr("benchmarks.__main__.measure", None)
    with pytest.raises(SystemExit, match=re.escape(problem)):
        main()


def test_a_failure_is_printed_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=100)
    show({"mode": "quick", "rows": [], "failures": ["ow-64: [/x] and [bold]"]}, console)
    assert isinstance(console.file, io.StringIO)
    assert "FAILED ow-64: [/x] and [bold]" in console.file.getvalue()


def test_a_report_survives_a_round_trip(tmp_path: Path) -> None:
    run = run_smoke([BY_NAME["limit-pipe-python"], BY_NAME["ipc-pipe-asyncio"]])
    raw = {
        "mode": "smoke",
        "command": "x",
        "machine": {"a": "b"},
        "failures": [],
        "rows": run.raw(),
    }
    report.write_json(tmp_path / "results.json", raw)
    again = report.read_json(tmp_path / "results.json")
    assert again == raw
    text = report.markdown(again)
    assert "| ipc-pipe-asyncio |" in text
    assert text == report.markdown(raw)
