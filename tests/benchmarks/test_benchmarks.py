"""The benchmarks themselves: that they compute and run, not what they find."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.build import Tools
from benchmarks.contenders import BY_NAME, CONTENDERS, Contender
from benchmarks.figures import Figures, Spread
from benchmarks.goals import GOALS, Goal
from benchmarks.measure import QUICK, SMOKE, Row, Run, plan
from benchmarks.processes import Pair, PairError
from benchmarks.workloads import SINGLE, WORKLOADS

RUNNABLE = ("limit-pipe-python", "limit-tcp-python", "ipc-pipe-asyncio", "ipc-tcp-uvloop")


def row(contender: str, ns: int, number: int = 0) -> Row:
    return Row(number, contender, "rt-64", 10, ns=ns, driver_cpu=ns, peer_cpu=ns)


def run_smoke(contenders: list[Contender]) -> Run:
    run = Run(SMOKE, Tools(), (None, None))
    for step in plan(SMOKE, contenders, lambda _: True):
        run.do(step, lambda _: None)
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


def test_rounds_are_interleaved() -> None:
    steps = [
        one for one in plan(QUICK, CONTENDERS, lambda _: True) if one.scenario is SINGLE
    ]
    names = [one.name for one in CONTENDERS]
    assert [one.contender.name for one in steps] == names * QUICK.rounds


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


def test_a_bad_end_is_a_failure() -> None:
    class BadEnd(Tools):
        def driver(self, contender: Contender, directory: str, channels: int) -> list[str]:
            command = super().driver(contender, directory, channels)
            return ["sh", "-c", '"$@"; exit 4', "sh", *command]

    with (
        pytest.raises(PairError, match="driver ended with status 4"),
        Pair(BY_NAME["limit-tcp-python"], BadEnd(), (None, None)) as pair,
    ):
        pair.order("round_trip", 1, 1)


def test_a_report_survives_a_round_trip(tmp_path: Path) -> None:
    run = run_smoke([BY_NAME["limit-pipe-python"], BY_NAME["ipc-pipe-asyncio"]])
    raw = {"mode": "smoke", "machine": {"a": "b"}, "failures": [], "rows": run.raw()}
    report.write_json(tmp_path / "results.json", raw)
    again = report.read_json(tmp_path / "results.json")
    assert again == raw
    text = report.markdown(again)
    assert "| ipc-pipe-asyncio |" in text
    assert text == report.markdown(raw)
