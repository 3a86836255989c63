"""Run the fast tests in the surroundings, a few side by side.

``nox -s surroundings`` combines surroundings to have all of them in few runs;
``nox -s surroundings -- NAME...`` runs each one by itself whose name contains a word.
A surrounding that this machine cannot have is reported, and skipped, aloud.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fast_tests import fast_tests
from named_tests import ROOT
from surroundings.catalog import SURROUNDINGS, USUAL, Surrounding

SINGLE = ("tests/benchmarks/test_pairs.py::test_nothing_is_left_of_a_run_that_is_ended",)
UNWANTED = (
    ".git",
    ".*_cache",
    ".hypothesis",
    ".nox",
    ".venv",
    "node_modules",
)
# One loop is enough: what the surroundings change is the same for all.
OPTIONS = (
    "-v",  # so that the log names a test that ends the run
    "-k",
    "not uvloop and not debug and not thread and not caller",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
)
LIMIT = 1800  # seconds of one run

Result = tuple[str, str, float]
"""What became of it ("good", "impossible", "FAILED"), its output, and the seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a test fails in any of the surroundings."""
    parser = argparse.ArgumentParser(prog="surroundings", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=3 * (os.cpu_count() or 1))
    parser.add_argument("--tests", nargs="+", help="files instead of the fast ones")
    options = parser.parse_args(arguments)
    wanted = chosen(options.names)
    # Before it is copied, and by who may write there: a process then need not compile it.
    for part in ("python", "tests"):
        compileall.compile_dir(ROOT / part, quiet=1)
    with tempfile.TemporaryDirectory(prefix="surroundings-") as name:
        os.chmod(name, 0o755)  # for the ordinary user
        directory = Path(name)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = pool.map(
                lambda one: run(
                    one, directory, options.tests or one.tests or tests_of(one)
                ),
                wanted,
            )
            good = [report(*result) for result in zip(wanted, results, strict=True)]
    print(f"{sum(good)} of {len(wanted)} runs are good")
    return int(not good or not all(good))


def chosen(names: Sequence[str]) -> Sequence[Surrounding]:
    if not names:
        return USUAL
    return [one for one in SURROUNDINGS if any(name in one.name for name in names)]


def tests_of(one: Surrounding) -> list[str]:
    return [*fast_tests(keeping=one.sessions), *SINGLE]


def run(one: Surrounding, directory: Path, tests: Sequence[str]) -> Result:
    """Run the tests in one of them."""
    start = time.monotonic()
    if (hindrance := one.hindrance()) is not None:
        return "impossible", hindrance, 0.0
    own = directory / one.name.replace(" ", "-")[:20]  # a name of its own, and a short one
    place = own / one.place
    place.mkdir(parents=True)
    os.chmod(place, 0o700)
    root = copy_tree(place / "copy") if one.copy else ROOT
    if one.user is not None:
        os.chown(place, one.user, one.user)
    base = ("--basetemp", str(place / "pytest"))
    pytest = [sys.executable, "-m", "pytest", *OPTIONS, *base, *one.options, *tests]
    enter = [sys.executable, "-m", "surroundings.enter", one.name]
    command = [*one.before(own / "scratch"), *enter, *pytest]
    log = own / "log"
    with log.open("wb") as output, open(os.devnull, "rb") as nothing:
        started = subprocess.Popen(
            command,
            cwd=root,
            env=environment(one, root, place),
            stdin=nothing,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            outcome = "FAILED" if started.wait(LIMIT) else "good"
            if started.returncode not in (0, 1):  # pytest itself tells of failed tests
                with log.open("a") as end:
                    end.write(f"\nended with status {started.returncode}\n")
        except subprocess.TimeoutExpired:
            started.kill()
            outcome = f"FAILED to end in {LIMIT} s"
    return outcome, log.read_text(errors="replace"), time.monotonic() - start


def copy_tree(target: Path) -> Path:
    ignore = shutil.ignore_patterns(*UNWANTED)
    shutil.copytree(ROOT, target, ignore=ignore, symlinks=True)
    return target


def environment(one: Surrounding, root: Path, place: Path) -> dict[str, str]:
    """Return what the tests get: paths to the tree, and what the surrounding changes."""
    parts = ["python", "tests"]
    if "PYTHONDEVMODE" in one.env:
        parts.append("tests/surroundings/calm")
    paths = os.pathsep.join(str(root / part) for part in parts)
    env = {
        **os.environ,
        "PYTHONPATH": paths,
        "HYPOTHESIS_PROFILE": "quick",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(place / "hypothesis"),
        "TMPDIR": str(place),
    }
    changed = {**env, **one.env}
    return {name: value for name, value in changed.items() if value is not None}


def report(one: Surrounding, result: Result) -> bool:
    """Print what became of a surrounding; return whether that is well."""
    outcome, text, seconds = result
    if outcome == "impossible":
        print(f"NOT TESTED: {one.name}: {text}", flush=True)
        return True
    last = text.rstrip().rpartition("\n")[2]
    if outcome != "good":
        print(what_failed(text), flush=True)
    print(f"{outcome}: {one.name}, {seconds:.0f} s: {last}", flush=True)
    return outcome == "good"


def what_failed(log: str) -> str:
    """Return the part with the failures; or the end, where the run itself was ended."""
    start = re.search(r"^=+ (ERRORS|FAILURES) =+$", log, re.MULTILINE)
    return log[start.start() :] if start else log[-10_000:]


if __name__ == "__main__":
    sys.exit(main())
