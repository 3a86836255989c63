"""The options of ``ipc-channel conformance``."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
from pathlib import Path

from ipc_channel.conformance import reports
from ipc_channel.conformance.case import TRANSPORTS
from ipc_channel.conformance.skeleton import SKELETONS

_DESCRIPTION = """\
Check a client against the specification of ipc-channel. COMMAND starts the
testee: a program of about a hundred lines around the client that takes JSON
lines on its standard input (spec/conformance.md, "Control language").
"""
_EPILOG = """\
The exit status is 0 if every selected case has passed, 1 if a case has failed,
and 2 if no case could be run.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options of ``ipc-channel conformance``."""
    options = argparse.ArgumentParser(
        prog="ipc-channel conformance",
        usage="%(prog)s [options] -- COMMAND …\n       %(prog)s --init LANGUAGE [DIRECTORY]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add = options.add_argument
    add("testee", nargs="*", metavar="COMMAND", help="command that starts the testee")
    add(
        "--init",
        metavar="LANGUAGE [DIRECTORY]",
        help=f"write the skeleton of a testee: {', '.join(SKELETONS)}",
    )
    add("--list", action="store_true", help="show the cases and what they check")
    add(
        "--run",
        action="append",
        metavar="PATTERN",
        help="run only cases with ids that match, such as ends/*",
    )
    add("--skip", action="append", metavar="PATTERN", help="skip matching ids")
    add("--transport", action="append", choices=TRANSPORTS, help="only this one")
    add("--strict", action="store_true", help="a violated SHOULD fails the run")
    add(
        "--known-failing",
        type=Path,
        metavar="FILE",
        help="cases expected to fail, one per line; a listed case that passes fails the run",
    )
    add(
        "--timeout",
        type=_seconds,
        default=10,
        metavar="SECONDS",
        help="time limit for each request to the testee (10)",
    )
    add(
        "--max-failures",
        type=_count,
        metavar="N",
        help="start no more cases after this many failures (no limit)",
    )
    add(
        "--no-first-check",
        action="store_true",
        help="run all cases even if the simplest one fails over each transport",
    )
    add(
        "--jobs",
        type=_jobs,
        default=2 * (os.cpu_count() or 1),
        metavar="N",
        help="number of concurrent cases (two per core)",
    )
    add(
        "--seed",
        type=int,
        default=random.randrange(2**32),
        metavar="N",
        help="seed of random sizes (a new one each time)",
    )
    add("--trace", action="store_true", help="show what went over the wire in failed cases")
    add(
        "--report",
        type=report_file,
        action="append",
        default=[],
        metavar="FILE",
        help=f"write a report; the ending says which: {', '.join(reports.WRITERS)}",
    )
    return options


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) <= 3600:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not within 0 and 3600 seconds")


def _jobs(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= (value := int(text)) <= 64:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (value := int(text)) >= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")


def report_file(text: str) -> Path:
    """Return the path to which a report will be written."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent} is no directory")
    if path.suffix not in reports.WRITERS:
        known = ", ".join(reports.WRITERS)
        raise argparse.ArgumentTypeError(f"{text} ends with none of {known}")
    return path
