"""``python -m benchmarks``: measure every contender side by side in one run."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from benchmarks import machine, report
from benchmarks.build import HERE, Tools
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.measure import FULL, QUICK, SMOKE, Mode, Run, plan
from benchmarks.workloads import CHANNEL_COUNTS, FIRST, WORKLOADS

RESULTS = HERE / "results"
WORKLOAD_NAMES = (
    *(work.name for work in WORKLOADS),
    FIRST,
    *(f"channels-{count}" for count in CHANNEL_COUNTS),
    "memory",
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    modes = parser.add_mutually_exclusive_group()
    for mode, text in (
        (FULL, "most of an hour, for figures to rely on"),
        (SMOKE, "only whether all works"),
    ):
        modes.add_argument(
            f"--{mode.name}", dest="mode", action="store_const", const=mode, help=text
        )
    parser.set_defaults(mode=QUICK)
    parser.add_argument("-c", "--contenders", action="append", metavar="PATTERN")
    parser.add_argument("-w", "--workloads", action="append", metavar="PATTERN")
    parser.add_argument("--output", type=Path, metavar="DIR", help=f"instead of {RESULTS}")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose cores")
    parser.add_argument(
        "--list", action="store_true", help="print the names, and do nothing"
    )
    parser.add_argument(
        "--render", action="store_true", help="no run: from DIR/results.json"
    )
    parser.add_argument("--go", default="go", help="the go command")
    parser.add_argument("--node", default="node", help="the node command")
    return parser.parse_args()


def matcher(patterns: list[str] | None) -> Callable[[str], bool]:
    """Return whether a name is wanted: by any pattern, or by there being none."""
    return lambda name: not patterns or any(fnmatchcase(name, one) for one in patterns)


def measure(
    mode: Mode,
    contenders: list[Contender],
    wanted: Callable[[str], bool],
    run: Run,
    console: Console,
) -> None:
    """Do every step of the plan and show how far it is."""
    steps = list(plan(mode, contenders, wanted))
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    text = TextColumn("{task.description}")
    # Refreshed between measurements only: a thread that draws would disturb them.
    with Progress(*columns, text, console=console, auto_refresh=False) as progress:
        task = progress.add_task("", total=sum(step.turns for step in steps))
        done = 0
        for step in steps:

            def watch(name: str, doing: str, number: int = step.round + 1) -> None:
                title = f"round {number}: {name}, {doing}"
                progress.update(task, advance=1, description=title, refresh=True)

            failed = len(run.failures)
            run.do(step, watch)
            for failure in run.failures[failed:]:
                progress.console.print(f"[bold red]FAILED[/] {failure}", highlight=False)
            done += step.turns
            progress.update(task, completed=done)  # some turns were not taken


def new_run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure, and return everything as plain data."""
    named = matcher(arguments.contenders)
    contenders = [one for one in CONTENDERS if named(one.name)]
    if not contenders:
        sys.exit("no contender has such a name; --list shows them")
    cores = (None, None) if arguments.no_pin else machine.pick_cores()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        tools = Tools(arguments.go, arguments.node, directory)
        tools.build(contenders)
        run = Run(arguments.mode, tools, cores)
        about = machine.describe(tools, cores)
        measure(arguments.mode, contenders, matcher(arguments.workloads), run, console)
    about["duration"] = f"{time.monotonic() - start:.0f} s"
    return {
        "mode": arguments.mode.name,
        "machine": about,
        "failures": run.failures,
        "rows": run.raw(),
    }


def show(run: dict[str, Any], console: Console) -> None:
    """Print an overview, the goals that were measured, and the failures once more."""
    figures = report.figures_of(run)
    for head, *rows in report.overview(figures):
        medians = Table(*head, title="Medians: µs per message, KiB per channel")
        for row in rows:
            medians.add_row(*row)
        if rows:
            console.print(medians)
    goals = Table("contender", "work", "goal", "measured", "met", title="Goals")
    for goal in report.goal_rows(figures):
        if goal[-1]:
            goals.add_row(*goal, style="green" if goal[-1] == "yes" else "red")
    console.print(goals)
    for failure in run["failures"]:
        console.print(f"[bold red]FAILED[/] {failure}", highlight=False)


def write(run: dict[str, Any], output: Path) -> None:
    from benchmarks import plots  # noqa: PLC0415  # takes a second to import

    output.mkdir(parents=True, exist_ok=True)
    report.write_json(output / "results.json", run)
    (output / "README.md").write_text(report.markdown(run), encoding="utf-8")
    plots.draw(report.figures_of(run), output)


def main() -> int:
    arguments = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    if arguments.list:
        console.print("contenders:", *(one.name for one in CONTENDERS))
        console.print("workloads:", *WORKLOAD_NAMES)
        return 0
    if arguments.render:
        run = report.read_json((arguments.output or RESULTS) / "results.json")
    else:
        run = new_run(arguments, console)
    show(run, console)
    partial = arguments.mode is SMOKE or arguments.contenders or arguments.workloads
    if arguments.output or not partial:
        write(run, arguments.output or RESULTS)
    else:
        console.print("Nothing written: this was a part only; --output DIR writes it.")
    return 1 if run["failures"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except subprocess.CalledProcessError as error:
        sys.exit(f"cannot build: {error}")
