"""The commands ``ipc-channel conformance`` and ``ipc-channel report``."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

import ipc_channel.conformance.cases  # noqa: F401  # fills the catalogue
from ipc_channel.conformance import options, reports
from ipc_channel.conformance.case import CATALOGUE, TRANSPORTS, Case
from ipc_channel.conformance.display import Display
from ipc_channel.conformance.output import Output
from ipc_channel.conformance.report import FORMAT, Json, Report
from ipc_channel.conformance.runner import Result, Run, RunOfAll, greet, matches
from ipc_channel.conformance.skeleton import next_steps, write_skeleton
from ipc_channel.conformance.testee import TesteeError


def conformance(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = options.parser()
    told = list(arguments)
    end = told.index("--") if "--" in told else len(told)
    chosen = parser.parse_args(told[:end])
    command = [*chosen.testee, *told[end + 1 :]]
    if chosen.init is not None:
        return _init(chosen.init, command)
    try:
        run = _run_of(chosen, command)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    cases = run.cases()
    if not cases:
        return _refuse("no case matches what was asked for; --list shows them all")
    if chosen.list:
        return _list(cases)
    if not command:
        return _refuse("there is no COMMAND; put it behind --")
    return asyncio.run(_until_ended(_run(run, chosen.report)))


def _init(language: str, arguments: Sequence[str]) -> int:
    try:
        (directory,) = arguments or ["."]
    except ValueError:
        return _refuse(f"--init takes one DIRECTORY, not {len(arguments)}")
    try:
        write_skeleton(language, Path(directory))
    except OSError as error:
        return _refuse(f"{error.filename} cannot be written: {error.strerror}")
    except ValueError as error:
        return _refuse(str(error))
    output = Output()
    output.write(next_steps(language, directory))
    return output.finish()


def _list(cases: Sequence[Case]) -> int:
    output = Output()
    for case in cases:
        needs = f"  needs {', '.join(sorted(case.needs))}" if case.needs else ""
        ids = ", ".join(dict.fromkeys(case.covers))
        output.write(f"{case.name:58} {case.level:6} {ids}{needs}\n")
    return output.finish()


def report(arguments: Sequence[str]) -> int:
    """Put the JSON reports of several clients on one page; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ipc-channel report",
        description="Put the JSON reports of several clients side by side.",
    )
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    parser.add_argument("--to", type=options.report_file, required=True, metavar="FILE")
    chosen = parser.parse_args(arguments)
    try:
        found = [_read_report(file) for file in chosen.reports]
        _tell_apart(found, chosen.reports)
        reports.write_all(found, chosen.to)
    except (OSError, ValueError) as error:
        return _refuse(str(error), "report")
    return 0


def _read_report(file: Path) -> Json:
    """Return the report in a file; raise ValueError if it is not a report."""
    try:
        one: Json = json.loads(file.read_text("utf-8"))
        if one["format"] != FORMAT:
            raise ValueError(f"format {one['format']!r}, not {FORMAT}")
        reports.html([one])  # fails if a field is missing
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise ValueError(f"{file} is no report: it has no {error}") from error
    except (ValueError, TypeError, AttributeError, UndefinedError) as error:
        raise ValueError(f"{file} is no report: {error}") from error
    return one


def _tell_apart(found: Sequence[Json], files: Sequence[Path]) -> None:
    """Append the file name to a client name that several reports have."""
    names = Counter(one["testee"]["name"] for one in found)
    for one, file in zip(found, files, strict=True):
        if names[one["testee"]["name"]] > 1:
            one["testee"]["name"] += f" ({file.stem})"


async def _until_ended(running: Coroutine[Any, Any, int]) -> int:
    """Clean up on a terminating signal; return the exit status that a shell reports."""
    task = asyncio.ensure_future(running)
    came: list[int] = []

    def end(number: int) -> None:
        came.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        return 128 + came[0]


async def _run(run: Run, files: Sequence[Path]) -> int:
    try:
        greeting = await greet(run)
    except TesteeError as error:
        return _refuse(
            f"the testee {' '.join(run.command)!r} cannot be run: {error}\n"
            "A testee begins with a greeting, one line of JSON: spec/conformance.md."
        )
    except OSError as error:
        return _refuse(f"the cases need a temporary directory: {error}")
    results: list[Result] = []
    start = time.monotonic()
    with Display(greeting, len(run.cases())) as display:

        def on_result(result: Result) -> None:
            results.append(result)
            display.add(result)

        await RunOfAll(run, greeting.can, on_result).complete()
    order = {case: number for number, case in enumerate(CATALOGUE)}
    results.sort(key=lambda result: order[result.case])
    done = Report(greeting, run, results, time.monotonic() - start)
    display.summarize(done, show_trace=run.trace)
    unwritten = [text for file in files if (text := _try_to_write(done, file))]
    if unwritten:
        return _refuse("; ".join(unwritten))
    if all(result.status == "skipped" for result in results):
        return _refuse("every case was skipped: nothing has been checked")
    return 1 if done.is_red else display.finish()


def _try_to_write(done: Report, file: Path) -> str | None:
    """Write a report, or return the error, so that the other reports are still written."""
    try:
        reports.write(done, file)
    except OSError as error:
        return f"{file} cannot be written: {error.strerror}"
    return None


def _run_of(chosen: argparse.Namespace, command: Sequence[str]) -> Run:
    wanted, unwanted = chosen.run or (), chosen.skip or ()
    for pattern in (*wanted, *unwanted):
        if not any(matches(case, [pattern]) for case in CATALOGUE):
            raise ValueError(f"no case matches {pattern!r}; --list shows them all")
    known = _known_failing(chosen.known_failing)
    return Run(
        command=command,
        transports=chosen.transport or TRANSPORTS,
        wanted=wanted,
        unwanted=unwanted,
        known_failing=known,
        strict=chosen.strict,
        patience=chosen.timeout,
        max_failures=chosen.max_failures,
        first_check=not chosen.no_first_check,
        jobs=chosen.jobs,
        seed=chosen.seed,
        trace=chosen.trace,
    )


def _known_failing(file: Path | None) -> frozenset[str]:
    """Return the names in a file: one per line, # begins a comment."""
    if file is None:
        return frozenset()
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no UTF-8: {error}") from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    names = frozenset(filter(None, lines))
    known: Iterable[str] = {text for case in CATALOGUE for text in (case.id, case.name)}
    unknown = sorted(names - set(known))
    if unknown:
        raise ValueError(f"{file} names {unknown[0]!r}, which is no case")
    return names


def _refuse(text: str, command: str = "conformance") -> int:
    print(f"ipc-channel {command}: {text}", file=sys.stderr)
    return 2
