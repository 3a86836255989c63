"""Kill helpers and services at random moments, and check every message around it.

A run takes two minutes unless told otherwise; ``--kills 10000`` with ``--seconds
36000`` is the long form. What chance decides repeats with ``--seed``; when exactly a
kill hits does not, so ``--only`` repeats the trial of that number until the time is up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from soak.service import LOOPS
from soak.tally import Tally
from soak.worker import Plan, told

ROOT = Path(__file__).parents[2]
PYTHON_HELPER = [sys.executable, str(ROOT / "python" / "examples" / "echo.py")]
PYTHON_TESTEE = [sys.executable, "-m", "ipc_channel.conformance.python_testee"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workers, print the figures, and return 1 if anything was wrong."""
    options = parse(arguments)
    print(f"soak: seed {options.seed}", flush=True)
    start = time.monotonic()
    tally = Tally()
    for plan, worker in [(plan, start_worker(plan)) for plan in plans(options)]:
        output, _ = worker.communicate()
        if worker.returncode == 0:
            tally.add(Tally.from_json(json.loads(output)))
        else:
            text = f"the worker of {plan.loop} ended with status {worker.returncode}"
            tally.failures.append(text)
    show(tally, time.monotonic() - start)
    return int(bool(tally.failures) or not tally.kills)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="120 unless given")
    parser.add_argument(
        "--kills", type=int, help="end after so many, even if there is time"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", type=int, metavar="NUMBER", help="repeat this trial")
    parser.add_argument("--loop", choices=LOOPS, action="append", help="both unless given")
    parser.add_argument("--at-a-time", type=int, default=2, help="trials of each loop; 2")
    parser.add_argument("--mostly", metavar="NAME", help="a language that starts quickly")
    for kind in ("--helper", "--testee"):
        parser.add_argument(kind, action="append", default=[], metavar="NAME=COMMAND")
    return parser.parse_args(arguments)


def plans(options: argparse.Namespace) -> list[Plan]:
    """Return a plan for each loop; without commands, those of the Python package."""
    loops = options.loop or list(LOOPS)
    helpers, testees = commands(options.helper), commands(options.testee)
    if not helpers and not testees:
        helpers, testees = {"Python": PYTHON_HELPER}, {"Python": PYTHON_TESTEE}
    kills = None if options.kills is None else -(-options.kills // len(loops))
    return [
        Plan(
            seed=options.seed,
            loop=loop,
            kills=kills,
            seconds=options.seconds,
            at_a_time=options.at_a_time,
            first=number,
            step=len(loops),
            helpers=helpers,
            testees=testees,
            mostly=options.mostly,
            only=options.only,
        )
        for number, loop in enumerate(loops)
    ]


def commands(given: Sequence[str]) -> dict[str, list[str]]:
    named = (text.partition("=") for text in given)
    return {name: shlex.split(command) for name, _, command in named}


def start_worker(plan: Plan) -> subprocess.Popen[bytes]:
    paths = (str(ROOT / "python"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", ""))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "soak.worker", told(plan)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=env)


def show(tally: Tally, seconds: float) -> None:
    """Print the figures, and then what was wrong."""
    kills = tally.kills.total()
    print(
        f"{kills:,} kills in {seconds:.0f} s; {tally.messages:,} messages, "
        f"{tally.size:,} bytes, each compared"
    )
    for counts in (tally.kills, tally.ends):
        for what, count in sorted(counts.items()):
            print(f"{count:10,}  {what}")
    for failure in tally.failures:
        print(f"WRONG: {failure}")
    print("soak: " + ("FAILED" if tally.failures else "nothing lost, doubled or merged"))


if __name__ == "__main__":
    sys.exit(main())
