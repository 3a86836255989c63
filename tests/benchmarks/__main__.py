"""``python -m benchmarks``: measure every contender side by side in one run."""

from __future__ import annotations

import argparse
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
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
from benchmarks.contenders import BY_NAME, CONTENDERS
from benchmarks.figures import Figures
from benchmarks.measure import FULL, QUICK, SMOKE, Run, Step, plan
from benchmarks.workloads import CHANNEL_COUNTS, FIRST, WORKLOADS

RESULTS = HERE / "results"
WORKLOAD_NAMES = (
    *(work.name for work in WORKLOADS),
    FIRST,
    *(f"channels-{count}" for count in CHANNEL_COUNTS),
    "memory",
)
STYLES = {"yes": "green", "unclear": "yellow", "no": "red"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nox -s bench --",
        description="Measure every contender side by side in one run. "
        "Without options: the quick mode, some minutes.",
    )
    modes = parser.add_mutually_exclusive_group()
    for mode, text in (
        (FULL, "half an hour, for figures to rely on"),
        (SMOKE, "only whether all works"),
    ):
        modes.add_argument(
            f"--{mode.name}", dest="mode", action="store_const", const=mode, help=text
        )
    parser.set_defaults(mode=QUICK)
    for letter, what, example in (
        ("-c", "contenders", "ipc-*"),
        ("-w", "workloads", "rt-*"),
    ):
        parser.add_argument(
            letter,
            f"--{what}",
            action="append",
            metavar="PATTERN",
            help=f"only {what} of such names, as in {example!r}; may be repeated",
        )
    parser.add_argument("--output", type=Path, metavar="DIR", help=f"instead of {RESULTS}")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose cores")
    parser.add_argument(
        "--list", action="store_true", help="print the names, and do nothing"
    )
    parser.add_argument(
        "--render",
        action="store_true",
        help="no run: what --output has, or else the published, from its results.json",
    )
    parser.add_argument("--go", default="go", help="the go command")
    parser.add_argument("--node", default="node", help="the node command")
    return parser.parse_args()


def matcher(patterns: list[str] | None) -> Callable[[str], bool]:
    """Return whether a name is wanted: by any pattern, or by there being none."""
    return lambda name: not patterns or any(fnmatchcase(name, one) for one in patterns)


def refuse_unknown(what: str, patterns: list[str] | None, names: Iterable[str]) -> None:
    """Exit if a pattern matches no name, which a table would not show."""
    for pattern in patterns or ():
        if not any(fnmatchcase(name, pattern) for name in names):
            sys.exit(f"no {what} has a name like {pattern!r}; --list shows them")


def tell_failures(console: Console, failures: list[str]) -> None:
    for failure in failures:
        console.print(f"[bold red]FAILED[/] {escape(failure)}", highlight=False)


def measure(steps: list[Step], run: Run, console: Console) -> None:
    """Do every step of the plan and show how far it is."""
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
            tell_failures(progress.console, run.failures[failed:])
            done += step.turns
            progress.update(task, completed=done)  # some turns were not taken


def new_run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure, and return everything as plain data."""
    named = matcher(arguments.contenders)
    contenders = [one for one in CONTENDERS if named(one.name)]
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    steps = list(plan(arguments.mode, contenders, matcher(arguments.workloads), chance))
    if not steps:
        sys.exit("none of these contenders does any of this work")
    cores = (None, None) if arguments.no_pin else machine.pick_cores()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        tools = Tools(arguments.go, arguments.node, directory)
        if missing := tools.missing(contenders):
            sys.exit("\n".join(missing))
        tools.build(contenders)
        run = Run(arguments.mode, tools, cores, chance=chance)
        about = machine.describe(tools, cores)
        measure(steps, run, console)
    about["duration"] = f"{time.monotonic() - start:.0f} s"
    about["load after"] = machine.load()
    about["seed of the order"] = str(seed)
    return {
        "mode": arguments.mode.name,
        "command": command_of(arguments),
        "machine": about,
        "failures": run.failures,
        "rows": run.raw(),
    }


def command_of(arguments: argparse.Namespace) -> str:
    """Return what does the same again; the tools are not in it, since nox adds them."""
    told = [] if arguments.mode is QUICK else [f"--{arguments.mode.name}"]
    for letter, patterns in (("-c", arguments.contenders), ("-w", arguments.workloads)):
        told += [word for one in patterns or () for word in (letter, one)]
    told += ["--no-pin"] * arguments.no_pin
    return shlex.join(["nox", "-s", "bench", *(["--", *told] if told else [])])


def show(run: dict[str, Any], console: Console) -> None:
    """Print what was measured, unless it was only tried, and the failures once more."""
    if run["mode"] != SMOKE.name:
        show_figures(report.figures_of(run), console)
    tell_failures(console, run["failures"])


def show_figures(figures: Figures, console: Console) -> None:
    """Print an overview and the goals that were measured."""
    for head, *rows in report.overview(figures):
        medians = Table(*head, title="Medians: µs per message, KiB per channel")
        for row in rows:
            medians.add_row(*row)
        if rows:
            console.print(medians)
    goals = Table("contender", "work", "goal", "measured", "met", title="Goals")
    for goal in report.goal_rows(figures):
        if goal[-1]:
            goals.add_row(*goal, style=STYLES[goal[-1]])
    console.print(goals)


def prepare(output: Path) -> None:
    """Exit if the results could not be written, which an hour later would be too late."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
        import_module("benchmarks.plots")
    except (OSError, ImportError) as error:
        sys.exit(f"cannot write to {output}: {error}")


def write(run: dict[str, Any], output: Path) -> None:
    from benchmarks import plots  # noqa: PLC0415  # takes a second to import

    report.write_json(output / "results.json", run)
    (output / "README.md").write_text(report.markdown(run), encoding="utf-8")
    plots.draw(report.figures_of(run), output)


def main() -> int:
    arguments = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    if arguments.list:
        console.print("contenders:", *(one.name for one in CONTENDERS))
        console.print("workloads:", *WORKLOAD_NAMES)
        return 0
    refuse_unknown("contender", arguments.contenders, BY_NAME)
    refuse_unknown("workload", arguments.workloads, WORKLOAD_NAMES)
    partial = arguments.mode is SMOKE or arguments.contenders or arguments.workloads
    output = arguments.output or (None if partial else RESULTS)
    if output and not arguments.render:
        prepare(output)
    if arguments.render:
        output = arguments.output or RESULTS
        run = report.read_json(output / "results.json")
    else:
        run = new_run(arguments, console)
    show(run, console)
    if output:
        write(run, output)
    elif arguments.mode is SMOKE and not run["failures"]:
        console.print("All of it works.")
    else:
        console.print("Nothing written: this was a part only; --output DIR writes it.")
    return 1 if run["failures"] else 0


def leave(number: int, frame: object) -> None:
    """End as after an exception, so that nothing is left behind; once is enough."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(f"ended by {signal.Signals(number).name}")


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # which is what nohup wants
            signal.signal(ending, leave)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except subprocess.CalledProcessError as error:
        sys.exit(f"cannot build: {error}")
    except FileNotFoundError as error:
        sys.exit(str(error))
