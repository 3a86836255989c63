"""What a run came to: raw JSON, Markdown, and a table of the goals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import BY_NAME, CONTENDERS, MANY, OURS, PEERS, Contender
from benchmarks.figures import Figures, Spread
from benchmarks.goals import GOALS
from benchmarks.measure import Row
from benchmarks.workloads import (
    BOTH_WAYS,
    CHANNEL_COUNTS,
    FIRST,
    ONE_WAY,
    ROUND_TRIPS,
    WORKLOADS,
    Workload,
    channels_workload,
)

Cell = Callable[[Contender, str], str]

_MEASURES = {
    "wall": "time",
    "cpu": "CPU time of both processes",
    "memory": "private memory of both processes",
}
_MEMORY = {"memory-idle": "idle", "memory-stalled": "the peer does not read"}


def write_json(path: Path, run: dict[str, Any]) -> None:
    """Write everything, one measurement a line."""
    rows = ",\n".join("  " + json.dumps(row) for row in run["rows"])
    head = json.dumps({key: value for key, value in run.items() if key != "rows"}, indent=1)
    path.write_text(f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n', encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return run


def figures_of(run: dict[str, Any]) -> Figures:
    return Figures(Row(**row) for row in run["rows"])


def goal_rows(figures: Figures) -> list[tuple[str, str, str, str, str]]:
    """Return contender, work, goal, what was measured, and the verdict of each."""
    return [
        (
            goal.ours,
            goal.work,
            goal.text(figures),
            _figure(goal.measured(figures)),
            {True: "yes", False: "no", None: "unclear"}[goal.met(figures)],
        )
        for goal in GOALS
        if goal.measured(figures) is not None
    ]


def overview(figures: Figures) -> list[list[list[str]]]:
    """Return two tables of medians in µs, or KiB of memory; the first rows are the heads."""
    few = dict.fromkeys((work.name for work in WORKLOADS), ("wall", 1e3))
    names = (FIRST, *(f"channels-{count}" for count in CHANNEL_COUNTS))
    many = dict.fromkeys(names, ("wall", 1e3))
    many |= dict.fromkeys(("memory-idle", "memory-stalled"), ("memory", 2**10))
    return [_overview(figures, columns) for columns in (few, many)]


def _overview(figures: Figures, columns: dict[str, tuple[str, float]]) -> list[list[str]]:
    def cell(one: str, name: str) -> str:
        what, unit = columns[name]
        found = figures.spread(one, name, what)
        return _digits(found.median / unit) if found else ""

    rows = [[one.name, *(cell(one.name, name) for name in columns)] for one in CONTENDERS]
    return [["", *columns], *(row for row in rows if any(row[1:]))]


def markdown(run: dict[str, Any]) -> str:
    """Return the whole report."""
    figures = figures_of(run)
    names = {row["contender"] for row in run["rows"]}
    present = [contender for contender in CONTENDERS if contender.name in names]
    parts = [
        "# Results\n",
        f"Made by `{run['command']}`; [what is measured and how](../README.md). A figure",
        "is the median over the rounds; in parentheses, between what it would lie if there were",
        "many more (by 95 %; of fewer than 6 rounds, all there were). A ratio is taken in each",
        "round, then its median.\n",
        *_list("Machine", [f"{key}: {value}" for key, value in run["machine"].items()]),
        *_list("Failed", [text.partition("\n")[0] for text in run["failures"]]),
        "## Goals\n",
        "Set before anything was measured, but for those against 10 channels. A goal is met",
        "or missed if both ends of the range say so, of 6 rounds or more; otherwise it is",
        "unclear. [What bounds those that are not met](../PROFILE.md).\n",
        *_table(("contender", "work", "goal", "measured", "met"), goal_rows(figures)),
        *_against(figures),
        *_tables(figures, present),
        *_unable(present),
    ]
    return "\n".join(parts) + "\n"


def _against(figures: Figures) -> list[str]:
    """Return how this library does against the best peers of each workload."""
    tables: list[str] = []
    for what, title in _MEASURES.items():
        compared = _compared(what).items()
        rows = [
            row
            for name, text in compared
            for row in _against_rows(figures, name, text, what)
        ]
        if rows:
            tables += [f"By {title}:\n", *_table(("", "best peer", "loop", *OURS), rows)]
    if not tables:
        return []
    return [
        "## Against the others\n",
        "What this library takes over what the best peer takes: the one with the smallest",
        "median among the other libraries and ways to do it, of those on an event loop, and",
        "of those that block, which serve one connection and nothing else. The original, the",
        "blocking limits, the bare loops and the peers in other languages are none of these.",
        "Below 1 this library takes less; it wins or loses if both ends of the range say so,",
        "of 6 rounds or more.\n",
        *tables,
    ]


def _against_rows(
    figures: Figures, name: str, title: str, what: str
) -> Iterator[list[str]]:
    """Give a row for the best peer on an event loop, and one for the best that blocks."""
    for blocks in (False, True):
        peers = [peer for peer in PEERS if (BY_NAME[peer].loop == "none") == blocks]
        best = figures.best(peers, name, what)
        if best is not None:
            ratios = [figures.ratio((one, name), (best, name), what) for one in OURS]
            if any(ratios):
                loop = "blocks" if blocks else BY_NAME[best].loop
                yield [title, best, loop, *map(_outcome, ratios)]


def _outcome(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    wins = ratio.within(lambda value: value < 1)
    return _figure(ratio) + {True: ", wins", False: ", **loses**", None: ""}[wins]


def _compared(what: str) -> dict[str, str]:
    """Return the workloads that are compared, and their titles; none has all measures."""
    if what == "memory":
        return _MEMORY
    works = {work.name: work.title for work in WORKLOADS}
    if what == "wall":
        works[FIRST] = "first message"
        for count in CHANNEL_COUNTS[1:]:
            works[f"{FIRST}-channels-{count}"] = f"first message, {count} channels"
    return works | {
        work.name: work.title for work in map(channels_workload, CHANNEL_COUNTS)
    }


def _tables(figures: Figures, present: list[Contender]) -> list[str]:
    def value(what: str, unit: float) -> Cell:
        return lambda one, work: _figure(figures.spread(one.name, work, what), unit)

    def ratio(language: str) -> Cell:
        return lambda one, work: _ratio(figures, one, f"{one.limit}-{language}", work)

    kinds = (
        ("Round trip, µs", ROUND_TRIPS),
        ("One way, µs per message", ONE_WAY),
        ("Both ways at once, µs per message each way", BOTH_WAYS),
    )
    micro, wall = 1e3, value("wall", 1e3)
    parts = [line for title, works in kinds for line in _grid(title, works, present, wall)]
    for language, title in (("c", "C"), ("python", "Python")):
        head = f"Times the blocking {title} program over the same kind of stream"
        parts += _grid(head, WORKLOADS, present, ratio(language))
    parts += _grid(
        "CPU time of both processes, µs per message",
        WORKLOADS,
        present,
        value("cpu", micro),
    )
    first = {FIRST: "1"} | {
        f"{FIRST}-channels-{count}": str(count) for count in CHANNEL_COUNTS[1:]
    }
    title = 'From "go" to a first message on each of so many channels, ms'
    parts += _columns(title, first, present, value("wall", 1e6))
    counts = {f"channels-{count}": str(count) for count in CHANNEL_COUNTS}
    title = "Round trips of 64 B over many channels in one loop"
    parts += _columns(f"{title}, µs per message", counts, present, wall)
    parts += _columns(f"{title}, CPU µs per message", counts, present, value("cpu", micro))
    title = "Private memory of both processes, KiB per channel"
    return parts + _columns(title, _MEMORY, present, value("memory", 1024))


def _ratio(figures: Figures, one: Contender, limit: str, workload: str) -> str:
    found = figures.ratio((one.name, workload), (limit, workload))
    return "" if found is None or one.name == limit else f"{found.median:.2f}"


def _figure(spread: Spread | None, unit: float = 1) -> str:
    if spread is None:
        return ""
    low, median, high = (
        _digits(value / unit) for value in (spread.low, spread.median, spread.high)
    )
    return median if low == high else f"{median} ({low}–{high})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _grid(
    title: str, works: Iterable[Workload], present: list[Contender], cell: Cell
) -> list[str]:
    return _columns(title, {work.name: work.title for work in works}, present, cell)


def _columns(
    title: str, columns: dict[str, str], present: list[Contender], cell: Cell
) -> list[str]:
    """Return a table of the contenders that have anything in ``columns``."""
    rows = [(one.name, *(cell(one, name) for name in columns)) for one in present]
    filled = [row for row in rows if any(row[1:])]
    if not filled:
        return []
    return [f"## {title}\n", *_table(("", *columns.values()), filled)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _list(title: str, items: list[str]) -> list[str]:
    return [f"## {title}\n", *(f"- {item}" for item in items), ""] if items else []


def _unable(present: list[Contender]) -> list[str]:
    """Tell what contenders cannot do, each reason once."""
    known = {work.name for work in WORKLOADS} | {MANY, "memory"}
    names: dict[tuple[str, str], list[str]] = {}
    for one in present:
        for name, why in one.unable.items():
            if name in known:
                names.setdefault((one.name, why), []).append(name)
    items = [f"{who}, {', '.join(what)}: {why}" for (who, why), what in names.items()]
    return _list("Not possible", items)
