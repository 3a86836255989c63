"""The benchmarks themselves: that they compute and run, not what they find."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Self

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.__main__ import main, show
from benchmarks.async_end import ChannelWork, fill
from benchmarks.build import Tools, c_compiler
from benchmarks.contenders import BY_NAME, CONTENDERS, Contender
from benchmarks.figures import Figures, Spread
from benchmarks.goals import GOALS, Goal
from benchmarks.machine import pick_cores
from benchmarks.measure import QUICK, SMOKE, Row, Run, calibrate, plan
from benchmarks.processes import Pair, PairError, Process, with_harness
from benchmarks.workloads import SINGLE, WORKLOADS
from benchmarks.wrong_end import SIZE

NO_CORES = (None, None)
RUNNABLE = ("limit-pipe-python", "limit-tcp-python", "ipc-pipe-asyncio", "ipc-tcp-uvloop")


def row(contender: str, ns: int, number: int = 0) -> Row:
    return Row(number, contender, "rt-64", 10, ns=ns, driver_cpu=ns, peer_cpu=ns)


def run_smoke(
    contenders: list[Contender], wanted: Callable[[str], bool] = lambda _: True
) -> Run:
    run = Run(SMOKE, Tools(), NO_CORES)
    for step in plan(SMOKE, contenders, wanted):
        run.do(step, lambda *_: None)
    return run


def test_a_ratio_is_of_rounds_and_then_the_median() -> None:
    rows = [row("a", 10, 0), row("a", 100, 1), row("a", 30, 2)]
    rows += [row("b", 10, 0), row("b", 50, 1), row("b", 10, 2), row("b", 1, 3)]
    found = Figures(rows).ratio(("a", "rt-64"), ("b", "rt-64"))
    assert found == Spread(2, 1.5, 2.5)


def test_values_are_per_message_and_of_both_processes() -> None:
    figures = Figures([row("a", 100)])
    assert figures.rounds("a", "rt-64") == {0: 10}
    assert figures.rounds("a", "rt-64", "cpu") == {0: 20}
    assert figures.spread("b", "rt-64") is None


def test_goals_go_both_ways() -> None:
    figures = Figures([row("a", 100), row("b", 250)])
    assert Goal("rt-64", "a", 0.4, "b").met(figures)
    assert not Goal("rt-64", "a", 0.3, "b").met(figures)
    assert Goal("rt-64", "a", 2.5, "b", faster=True).met(figures)
    assert not Goal("rt-64", "a", 2.6, "b", faster=True).met(figures)
    assert Goal("rt-64", "a", 2.6, "c").met(figures) is None


def test_goals_name_what_exists() -> None:
    for goal in GOALS:
        assert goal.ours in BY_NAME
        assert goal.theirs in ("", "the best peer", *BY_NAME)


def test_all_take_part_in_each_round_in_an_order_of_its_own() -> None:
    steps = [
        one for one in plan(QUICK, CONTENDERS, lambda _: True) if one.scenario is SINGLE
    ]
    orders = [[one.name for one in step.contenders] for step in steps]
    assert [step.round for step in steps] == list(range(QUICK.rounds))
    assert all(sorted(order) == sorted(BY_NAME) for order in orders)
    assert len(set(map(tuple, orders))) == QUICK.rounds


class FakePair:
    """A pair without processes; ``broken`` names what it fails to do."""

    first = 1
    broken = ""
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
        return {"ns": 1, "driver_cpu": len(self.alive)}


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


def test_a_pause_of_the_machine_does_not_end_the_calibration() -> None:
    counts = []

    class Pausing:
        def order(self, kind: str, count: int, size: int) -> dict[str, int]:
            counts.append(count)
            return {"ns": 10 * count + (50_000 if len(counts) == 2 else 0)}

    count, report = calibrate(Pausing(), WORKLOADS[0], SINGLE, 50_000)  # type: ignore[arg-type]
    assert (count, report) == (6000, {"ns": 60_000})
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
    [step] = plan(SMOKE, two, "rt-64".__eq__)
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


class Wrong(Tools):
    """Tools whose peer is wrong in one way; the wire of C is that of Python."""

    way = ""

    def peer(self, contender: Contender, directory: str, channels: int) -> list[str]:
        name = contender.name.replace("-c", "-python")
        arguments = (self.way, "peer", name, directory, str(channels))
        return [sys.executable, "-m", "benchmarks.wrong_end", *arguments]


SENT = r"sent \d+ bytes and got|helper: hello"
DRIVERS = (
    "limit-tcp-python",
    "ipc-pipe-asyncio",
    pytest.param(
        "limit-tcp-c", marks=pytest.mark.skipif(not c_compiler(), reason="no C compiler")
    ),
)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Wrong:
    tools = Wrong(directory=str(tmp_path_factory.mktemp("built")))
    if c_compiler():
        tools.build([BY_NAME["limit-tcp-c"]])
    return tools


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize(
    "way", ("hello", "first byte", "short", "long", "empty", "lost", "double", "all bytes")
)
def test_a_wrong_echo_is_a_failure(
    name: str, way: str, wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.processes.PATIENCE", 2)  # for an echo that is lost
    monkeypatch.setattr(wrong, "way", way)
    with (
        pytest.raises(PairError, match="no answer" if way == "lost" else SENT),
        Pair(BY_NAME[name], wrong, NO_CORES) as pair,
    ):
        pair.order("round_trip", 6, SIZE)


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("kind", ("one_way", "both"))
def test_a_wrong_total_is_a_failure(
    name: str, kind: str, wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrong, "way", "total")
    with (
        pytest.raises(PairError, match=SENT),
        Pair(BY_NAME[name], wrong, NO_CORES) as pair,
    ):
        pair.order(kind, 6, SIZE)


@pytest.mark.parametrize(
    "answer, problem",
    [
        ('{"order": 1}', None),
        ('{"order": 2}', "order 1 got the answer to order 2"),
        ('{"ns": 1}', "no 'order' in an answer"),
        ("[1]", r"no answer: '\[1\]'"),
        ("a library's word" + 300 * "!", 'no answer: "a library\'s word!{184}"$'),
    ],
)
def test_an_answer_to_no_order_is_a_failure(answer: str, problem: str | None) -> None:
    script = (
        'echo \'{"address": []}\'; read go; echo \'{"first": 1}\'; read order; echo "$0"'
    )

    class Answering(Tools):
        def driver(self, contender: Contender, directory: str, channels: int) -> list[str]:
            return ["sh", "-c", script, answer]

        def peer(self, contender: Contender, directory: str, channels: int) -> list[str]:
            return self.driver(contender, directory, channels)

    with (
        pytest.raises(PairError, match=problem) if problem else contextlib.nullcontext(),
        Pair(BY_NAME["limit-tcp-python"], Answering(), NO_CORES) as pair,
    ):
        assert pair.order("round_trip", 1, 1) == {}


async def test_a_channel_that_takes_nothing_is_a_failure() -> None:
    class Full:
        async def write(self, data: bytes) -> None:
            if data != b"stall":
                await asyncio.Event().wait()

    with pytest.raises(ValueError, match="nothing was written"):
        await fill([Full()], 1)  # type: ignore[list-item]  # all that fill uses


def test_a_bad_end_is_a_failure() -> None:
    class BadEnd(Tools):
        def driver(self, contender: Contender, directory: str, channels: int) -> list[str]:
            command = super().driver(contender, directory, channels)
            return ["sh", "-c", '"$@"; exit 4', "sh", *command]

    with (
        pytest.raises(PairError, match="driver ended with status 4"),
        Pair(BY_NAME["limit-tcp-python"], BadEnd(), NO_CORES) as pair,
    ):
        pair.order("round_trip", 1, 1)


@pytest.mark.parametrize(
    "threads, driver, peer",
    [
        ("0", None, None),
        ("0 1", {0}, {1}),
        ("0,1", {0}, {1}),  # of one hardware core
        ("0 1 2", {0}, {1}),
        ("0 1 2 3", {0, 2}, {1, 3}),
        ("0,2 1,3", {0, 2}, {1, 3}),
        ("0,3 1,4 2,5", {0, 3}, {1, 4}),
    ],
)
def test_driver_and_peer_have_half_of_the_hardware_each(
    threads: str,
    driver: set[int] | None,
    peer: set[int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    siblings = {int(core): unit for unit in threads.split() for core in unit.split(",")}
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(siblings), raising=False)
    monkeypatch.setattr("benchmarks.machine._siblings", siblings.__getitem__)
    assert pick_cores() == (driver, peer)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no pinning here")
def test_a_process_is_pinned_from_its_start(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    tell = "import json, os; print(json.dumps({'cores': list(os.sched_getaffinity(0))}))"
    process = Process([sys.executable, "-c", tell], str(tmp_path), frozenset((core,)))
    try:
        assert process.hear(10) == {"cores": [core]}
    finally:
        process.end()


ENDED = """
import sys, time
from benchmarks.build import Tools
from benchmarks.contenders import BY_NAME
from benchmarks.processes import Pair
pair = Pair(BY_NAME[sys.argv[1]], Tools(), (None, None))
pair.__enter__()
if sys.argv[1] == "ipc-pipe-asyncio":
    pair.order("stall", 0, 1024)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not with_harness(), reason="setpriv is missing")
@pytest.mark.parametrize("name", ("ipc-pipe-asyncio", "limit-tcp-python"))
def test_no_process_outlives_a_harness_that_is_killed(name: str, tmp_path: Path) -> None:
    with start(["-c", ENDED, name], tmp_path) as harness:
        assert harness.stdout
        assert harness.stdout.readline() == b"ready\n"
        assert len(processes_in(tmp_path)) == 2
        harness.kill()
        wait_until(lambda: not processes_in(tmp_path))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
@pytest.mark.parametrize("ending", (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
def test_nothing_is_left_of_a_run_that_is_ended(
    ending: signal.Signals, tmp_path: Path
) -> None:
    names = ("-c", "ipc-pipe-asyncio", "-c", "limit-tcp-python")
    with start(["-m", "benchmarks", *names], tmp_path) as harness:
        wait_until(lambda: len(processes_in(tmp_path)) == 4)
        harness.send_signal(ending)
        assert harness.wait(20) != 0
        assert processes_in(tmp_path) == []
        assert list(tmp_path.iterdir()) == []


def start(arguments: list[str], directory: Path) -> subprocess.Popen[bytes]:
    """Start Python as a harness that works in ``directory``."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(directory)}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE)


def processes_in(directory: Path) -> list[str]:
    """Return the processes of pairs, which have their directory as an argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = process.read_text(errors="replace")
            if str(directory) in text:
                found.append(text)
    return found


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (["-c", "limit-*", "-c", "none-*"], "no contender has a name like 'none-*'"),
        (["-w", "rt-*", "-w", "rt-65"], "no workload has a name like 'rt-65'"),
        (["-c", "limit-tcp-c", "-w", "memory"], "none of these contenders does any"),
        (
            ["-c", "go-*", "--go", "no/go"],
            "no/go is missing; it is needed by: go-pipe, go-tcp",
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
    show({"rows": [], "failures": ["ow-64: [/x] and [bold]"]}, console)
    assert isinstance(console.file, io.StringIO)
    assert "FAILED ow-64: [/x] and [bold]" in console.file.getvalue()


def test_a_report_survives_a_round_trip(tmp_path: Path) -> None:
    run = run_smoke([BY_NAME["limit-pipe-python"], BY_NAME["ipc-pipe-asyncio"]])
    raw = {"mode": "smoke", "machine": {"a": "b"}, "failures": [], "rows": run.raw()}
    report.write_json(tmp_path / "results.json", raw)
    again = report.read_json(tmp_path / "results.json")
    assert again == raw
    text = report.markdown(again)
    assert "| ipc-pipe-asyncio |" in text
    assert text == report.markdown(raw)
