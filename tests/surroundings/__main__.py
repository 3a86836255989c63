"""Run the fast tests in each of the surroundings, a few side by side.

``nox -s surroundings -- NAME...`` runs those whose name contains one of the words.
A surrounding that this machine cannot have is reported, and skipped, aloud.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from named_tests import ROOT, files_of
from surroundings.catalog import SURROUNDINGS, Surrounding

# The tests of the package itself.
ALL = ("", "protocol/", "aio/", "transports/", "helper/")
# Not fast, or the same wherever they run. aio/test_interrupts.py also raises where no signal
# handler could, such as between the last step of a block and the release of its lock: it
# wants an interpreter of its own.
LEFT_OUT = (
    *("protocol/", "aio/cancellation", "aio/interrupts", "aio/session_model", "aio/waiter"),
    *("helper/cancel", "helper/interrupt", "transports/registry", "transports/umask"),
    *("client_readmes", "help", "layers", "readme", "requirements"),
)
# What a session does once it is connected: only some surroundings can change that.
SESSIONS = (
    *("aio/clock", "aio/close", "aio/endpoint", "aio/faults", "aio/loops", "aio/receiver"),
    *("aio/sender", "aio/stream", "transports/connect_races", "transports/passers_by"),
    *("transports/peer_user", "transports/streams", "transports/swapped_pipes"),
    *("transports/tcp_listener", "transports/tcp_socket"),
    *("browser_bytes", "channel", "messages_of_errors"),
)
SINGLE = ("tests/benchmarks/test_pairs.py::test_nothing_is_left_of_a_run_that_is_ended",)
UNWANTED = (
    ".git",
    ".*_cache",
    ".hypothesis",
    ".nox",
    ".venv",
    "__pycache__",
    "node_modules",
)
# One loop is enough: what the surroundings change is the same for all.
OPTIONS = (
    "-v",  # so that the log names a test that ends the run
    "-k",
    "not uvloop and not debug",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
)
LIMIT = 600  # seconds of one run

Result = tuple[str, str, float]
"""What became of it ("good", "impossible", "FAILED"), its output, and the seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a test fails in any of the surroundings."""
    parser = argparse.ArgumentParser(prog="surroundings", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=3 * (os.cpu_count() or 1))
    parser.add_argument("--tests", nargs="+", help="files instead of the fast ones")
    options = parser.parse_args(arguments)
    wanted = [one for one in SURROUNDINGS if is_wanted(one, options.names)]
    with tempfile.TemporaryDirectory(prefix="surroundings-") as name:
        os.chmod(name, 0o755)  # for the ordinary user
        directory = Path(name)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = pool.map(
                lambda one: run(
                    one, directory, options.tests or one.tests or fast_tests(one)
                ),
                wanted,
            )
            good = [report(*result) for result in zip(wanted, results, strict=True)]
    print(f"{sum(good)} of {len(wanted)} surroundings are good")
    return int(not good or not all(good))


def is_wanted(one: Surrounding, names: Sequence[str]) -> bool:
    return not names or any(name in one.name for name in names)


def fast_tests(one: Surrounding) -> list[str]:
    names = LEFT_OUT if one.changes_sessions else LEFT_OUT + SESSIONS
    left_out = set(files_of(*names))
    return [*(file for file in files_of(*ALL) if file not in left_out), *SINGLE]


def run(one: Surrounding, directory: Path, tests: Sequence[str]) -> Result:
    """Run the tests in one of them."""
    start = time.monotonic()
    if (hindrance := one.hindrance()) is not None:
        return "impossible", hindrance, 0.0
    own = directory / one.name.replace(" ", "-")
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
        status = subprocess.run(
            command,
            cwd=root,
            env=environment(one, root, place),
            stdin=nothing,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
        ).returncode
    text = log.read_text(errors="replace")
    return "FAILED" if status else "good", text, time.monotonic() - start


def copy_tree(target: Path) -> Path:
    ignore = shutil.ignore_patterns(*UNWANTED)
    shutil.copytree(ROOT, target, ignore=ignore, symlinks=True)
    return target


def environment(one: Surrounding, root: Path, place: Path) -> dict[str, str]:
    """Return what the tests get: paths to the tree, and what the surrounding changes."""
    paths = os.pathsep.join(str(root / part) for part in ("python", "tests"))
    env = {
        **os.environ,
        "PYTHONPATH": paths,
        "PYTHONDONTWRITEBYTECODE": "1",
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
    print(f"{outcome}: {one.name}, {seconds:.0f} s: {last}", flush=True)
    if outcome == "FAILED":
        print(text, flush=True)
    return outcome == "good"


if __name__ == "__main__":
    sys.exit(main())
