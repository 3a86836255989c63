"""What a report says of figures: verdicts, and how the library does against the others."""

from __future__ import annotations

import pytest

from benchmarks import counts, report
from benchmarks.contenders import BY_NAME, OURS, PEERS
from benchmarks.figures import Figures, spread
from benchmarks.goals import BEST_PEER, GOALS, Goal
from benchmarks.measure import Row


def rows(contender: str, *times: int, work: str = "rt-64") -> list[Row]:
    """Return a row for each time, which is taken for the CPU time of each process, too."""
    return [
        Row(number, contender, work, 10, ns=time, driver_cpu=time, peer_cpu=time)
        for number, time in enumerate(times)
    ]


def run(*measured: list[Row]) -> dict[str, object]:
    return {
        "mode": "smoke",
        "command": "nox -s bench",
        "machine": {},
        "failures": [],
        "rows": [vars(row) for some in measured for row in some],
    }


@pytest.mark.parametrize(
    ("ours", "faster", "met"),
    [
        ((9, 10, 10), False, True),
        ((11, 12, 13), False, False),
        ((8, 9, 30), False, None),
        ((7, 12, 13), False, None),
        ((8, 9, 10), True, True),
        ((11, 12, 13), True, False),
        ((8, 9, 30), True, None),
    ],
)
def test_ends_that_disagree_leave_a_goal_open(
    ours: tuple[int, ...], faster: bool, met: bool | None
) -> None:
    figures = Figures(rows("a", *ours, *ours) + rows("b", *(10,) * 6))
    assert Goal("rt-64", "a", 1, "b", faster=faster).met(figures) is met


def test_few_rounds_leave_a_goal_open() -> None:
    figures = Figures(rows("a", *(1,) * 5) + rows("b", *(10,) * 6))
    assert Goal("rt-64", "a", 1, "b").met(figures) is None


@pytest.mark.parametrize(
    ("count", "low", "high"), [(1, 0, 0), (6, 0, 5), (8, 0, 7), (9, 1, 7), (12, 2, 9)]
)
def test_the_range_is_as_sure_as_coins_allow(count: int, low: int, high: int) -> None:
    """Of 9 values, the median is below the second with a chance of 10 in 512."""
    found = spread(range(count))
    assert found is not None
    assert (found.low, found.high, found.rounds) == (low, high, count)


def test_verdicts_are_words() -> None:
    pipe, tcp = "ipc-pipe-asyncio", "ipc-tcp-asyncio"
    figures = Figures(
        rows(pipe, *(9_000_000, 90_000_000, 900_000_000) * 2, work="channels-500")
        + rows(pipe, *(90_000_000,) * 6, work="channels-1")
        + rows(pipe, *(10,) * 6, work="first")
        + rows(tcp, *(300_000_000,) * 6, work="first")
    )
    verdicts = {
        (ours, work, text): verdict
        for ours, work, text, _, verdict in report.goal_rows(figures)
    }
    assert verdicts[pipe, "channels-500", "≤ 1.2 × channels-1"] == "unclear"
    assert verdicts[pipe, "first", "≤ 25 ms"] == "yes"
    assert verdicts[tcp, "first", "≤ 25 ms"] == "no"
    assert ("ipc-tcp-uvloop", "first", "≤ 25 ms") not in verdicts


def test_the_best_peer_is_one_for_the_run_and_named() -> None:
    one, other = PEERS[:2]
    figures = Figures(
        rows("a", 10, 10, 10) + rows(one, 20, 20, 20) + rows(other, 5, 30, 30)
    )
    goal = Goal("rt-64", "a", 2, BEST_PEER, faster=True)
    assert figures.best(PEERS, "rt-64") == one
    assert goal.text(figures) == f"≥ 2 × as fast as the best peer ({one})"
    measured = goal.measured(figures)
    assert measured is not None
    assert (measured.low, measured.median, measured.high) == (2, 2, 2)


def test_without_peers_there_is_no_best() -> None:
    figures = Figures(rows("a", 10))
    goal = Goal("rt-64", "a", 2, BEST_PEER)
    assert figures.best(PEERS, "rt-64") is None
    assert goal.text(figures) == "≤ 2 × the best peer"
    assert goal.measured(figures) is None


def test_many_channels_are_held_against_one_and_ten() -> None:
    against = {goal.against for goal in GOALS if goal.workload == "channels-500"}
    assert against == {"channels-1", "channels-10"}


def test_the_report_tells_where_the_library_wins_and_loses() -> None:
    text = report.markdown(
        run(
            rows("ipc-pipe-asyncio", *(10,) * 6),
            rows("ipc-pipe-uvloop", *(30, 40, 50) * 2),
            rows("ipc-tcp-asyncio", *(10, 16, 16, 40) * 2),
            rows("ipc-tcp-uvloop", 30, 30, 30),
            rows("streams-tcp-uvloop", *(20,) * 8),
            rows("multiprocessing", *(40,) * 6),
            rows("grpc", *(21,) * 6),
            rows("limit-pipe-c", 1, 1, 1),
            rows("original-pipe", 1, 1, 1),
            rows("grpc", 50, 50, 50, work="ow-16m"),
        )
    )
    section = text.partition("## Against the others")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| round trip")]
    expected = [
        (
            "| round trip 64 B | streams-tcp-uvloop | uvloop | 0.5, wins "
            "| 2 (1.5–2.5), **loses** |  |  | 0.8 (0.5–2) | 1.5 |"
        ),
        (
            "| round trip 64 B | multiprocessing | blocks | 0.25, wins "
            "| 1 (0.75–1.25) |  |  | 0.4 (0.25–1) | 0.75 |"
        ),
    ]
    assert lines == expected * 2  # by time and by CPU time
    assert "16 MiB" not in section  # which the library did not do


def test_every_workload_is_compared() -> None:
    names = ("rt-64", "rt-64k", "ow-16m", "both-64k", "channels-1", "channels-500")
    for name in (*names, "first", "first-channels-100"):
        text = report.markdown(
            run(rows("pyzmq", *(20,) * 6, work=name), rows(OURS[0], *(30,) * 6, work=name))
        )
        assert "| pyzmq | asyncio | 1.5, **loses** |" in text, name


def test_a_report_without_peers_has_no_such_section() -> None:
    assert "Against the others" not in report.markdown(run(rows("ipc-pipe-asyncio", 10)))


def test_the_best_peer_is_no_limit_and_none_of_ours() -> None:
    assert {BY_NAME[name].family for name in PEERS}.isdisjoint(
        {"limit", "bare loop", "original", "ipc-channel"}
    )
    assert {BY_NAME[name].family for name in OURS} == {"ipc-channel"}


def test_counts_tell_what_they_were_taken_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "version", lambda command: f"{command[0]}-1.2")
    text = counts.introduction() + counts.markdown([["", "a"], ["one", "1"]])
    for line in ("- valgrind: valgrind-1.2", "- strace: strace-1.2"):
        assert f"\n{line}\n" in text
    for key in ("processor", "kernel", "commit", "Python", "uvloop"):
        assert f"\n- {key}: " in text
    assert text.endswith("\n\n|  | a |\n| --- | --: |\n| one | 1 |\n")


def test_counts_are_of_contenders() -> None:
    assert set(counts.NAMES) <= set(BY_NAME)
