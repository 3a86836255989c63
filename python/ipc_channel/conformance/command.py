"""``ipc-channel conformance``: what can be asked for, and what comes of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import ipc_channel.conformance.cases  # noqa: F401  # fills the catalogue
from ipc_channel.conformance import reports
from ipc_channel.conformance.case import CATALOGUE, TRANSPORTS
from ipc_channel.conformance.display import Display
from ipc_channel.conformance.runner import Result, Run, greet, matches, run_all
from ipc_channel.conformance.testee import TesteeError

_DESCRIPTION = """\
Check a client against the specification of ipc-channel. COMMAND starts the
testee: a program of about a hundred lines around the client that takes JSON
lines on its standard input (spec/conformance.md, "Control language").
"""
_EPILOG = """\
The exit status is 0 if all that was asked for has passed, 1 if something has not,
and 2 if nothing could be run.
"""


def conformance(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    told = list(arguments)
    end = told.index("--") if "--" in told else len(told)
    options = parser.parse_args(told[:end])
    command = [*options.testee, *told[end + 1 :]]
    try:
        run = _run_of(options, command)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    cases = run.cases()
    if not cases:
        return _refuse("no case matches what was asked for; --list shows them all")
    if options.list:
        for case in cases:
            needs = f"  needs {', '.join(sorted(case.needs))}" if case.needs else ""
            ids = ", ".join(dict.fromkeys(case.covers))
            print(f"{case.name:58} {case.level:6} {ids}{needs}")
        return 0
    if not command:
        return _refuse("there is no COMMAND; put it behind --")
    return asyncio.run(_until_terminated(_run(run, options.report)))


def report(arguments: Sequence[str]) -> int:
    """Put the JSON reports of several clients on one page; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ipc-channel report",
        description="Put the JSON reports of several clients side by side.",
    )
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    parser.add_argument("--to", type=_report, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    found = []
    for file in options.reports:
        try:
            one = json.loads(file.read_text("utf-8"))
            if one["format"] != reports.FORMAT:
                return _refuse(f"{file} has format {one['format']}, not {reports.FORMAT}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            return _refuse(f"{file} is no report: {error!r}")
        found.append(one)
    try:
        reports.write_all(found, options.to)
    except (OSError, ValueError) as error:
        return _refuse(str(error))
    return 0


async def _until_terminated(running: Coroutine[Any, Any, int]) -> int:
    """Clean up on SIGTERM as on SIGINT."""
    task = asyncio.ensure_future(running)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _run(run: Run, files: Sequence[Path]) -> int:
    try:
        greeting = await greet(run)
    except TesteeError as error:
        return _refuse(
            f"the testee {' '.join(run.command)!r} cannot be run: {error}\n"
            "A testee begins with a greeting, one line of JSON: spec/conformance.md."
        )
    results: list[Result] = []
    start = time.monotonic()
    with Display(greeting, len(run.cases())) as display:

        def on_result(result: Result) -> None:
            results.append(result)
            display.add(result)

        await run_all(run, greeting.can, on_result)
    order = {case: number for number, case in enumerate(CATALOGUE)}
    results.sort(key=lambda result: order[result.case])
    done = reports.Report(greeting, run, results, time.monotonic() - start)
    display.summarize(done, show_trace=run.trace)
    unwritten = [text for file in files if (text := _try_to_write(done, file))]
    if unwritten:
        return _refuse("; ".join(unwritten))
    if all(result.status == "skipped" for result in results):
        return _refuse("every case was skipped: nothing has been checked")
    return 1 if done.is_red else 0


def _try_to_write(done: reports.Report, file: Path) -> str | None:
    """Write a report, or return why not: the others are to be written all the same."""
    try:
        reports.write(done, file)
    except OSError as error:
        return f"{file} cannot be written: {error.strerror}"
    return None


def _run_of(options: argparse.Namespace, command: Sequence[str]) -> Run:
    wanted, unwanted = options.run or (), options.skip or ()
    for pattern in (*wanted, *unwanted):
        if not any(matches(case, [pattern]) for case in CATALOGUE):
            raise ValueError(f"no case matches {pattern!r}; --list shows them all")
    known = _known_failing(options.known_failing)
    return Run(
        command=command,
        transports=options.transport or TRANSPORTS,
        wanted=wanted,
        unwanted=unwanted,
        known_failing=known,
        strict=options.strict,
        patience=options.timeout,
        jobs=options.jobs,
        seed=options.seed,
        trace=options.trace,
    )


def _known_failing(file: Path | None) -> frozenset[str]:
    """Return the names in a file: one a line, # begins a comment."""
    if file is None:
        return frozenset()
    lines = (
        line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines()
    )
    names = frozenset(filter(None, lines))
    known: Iterable[str] = {text for case in CATALOGUE for text in (case.id, case.name)}
    unknown = sorted(names - set(known))
    if unknown:
        raise ValueError(f"{file} names {unknown[0]!r}, which is no case")
    return names


def _refuse(text: str) -> int:
    print(f"ipc-channel conformance: {text}", file=sys.stderr)
    return 2


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not within 0 and 3600 seconds")
    return value


def _jobs(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not within 1 and 64")
    return value


def _report(text: str) -> Path:
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent} is no directory")
    if path.suffix not in reports.WRITERS:
        known = ", ".join(reports.WRITERS)
        raise argparse.ArgumentTypeError(f"{text} ends with none of {known}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ipc-channel conformance",
        usage="%(prog)s [options] -- COMMAND …",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("testee", nargs="*", metavar="COMMAND", help="what starts the testee")
    add("--list", action="store_true", help="show the cases and what they check")
    add(
        "--run",
        action="append",
        metavar="PATTERN",
        help="only ids that match, such as ends/*",
    )
    add("--skip", action="append", metavar="PATTERN", help="not the ids that match")
    add("--transport", action="append", choices=TRANSPORTS, help="only over this one")
    add("--strict", action="store_true", help="a SHOULD that is not done fails the run")
    add(
        "--known-failing",
        type=Path,
        metavar="FILE",
        help="cases that are expected to fail, one a line; one that passes fails the run",
    )
    add(
        "--timeout",
        type=_positive,
        default=10,
        metavar="SECONDS",
        help="for anything that the testee does (10)",
    )
    add(
        "--jobs",
        type=_jobs,
        default=2 * (os.cpu_count() or 1),
        metavar="N",
        help="cases at a time (two for each core)",
    )
    add(
        "--seed",
        type=int,
        default=random.randrange(2**32),
        metavar="N",
        help="of what is random (another each time)",
    )
    add("--trace", action="store_true", help="show what went over the wire in failed cases")
    add(
        "--report",
        type=_report,
        action="append",
        default=[],
        metavar="FILE",
        help=f"write a report; the ending says which: {', '.join(reports.WRITERS)}",
    )
    return parser
