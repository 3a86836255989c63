"""Test the package and the Go client for Windows, under Wine.

The jobs are unit tests, the conformance suite, and services that have helpers. All of
them take some minutes, and far more with ``--full``. On Windows itself the arguments of
``nox -s windows`` go to pytest instead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from on_windows.interpreter import Interpreter
from on_windows.jobs import Job, run_all
from on_windows.machine import Machine, what_is_missing, windows_path
from on_windows.selection import LOAD_TESTS, OWN_TESTS, WINDOWS_TESTS

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
VERSIONS = ("3.14", "3.11")
_LIMIT, _LIMIT_FULL = 1500, 3600  # seconds of one job, on a busy machine
SESSIONS = ("cancel", "ends", "flow", "load")
"""Cases in which it matters how a client waits."""
# If it hangs, the trace of the case tells where: that comes before the suite's own time limit.
TESTEE = """
import faulthandler
faulthandler.dump_traceback_later(50)
from ipc_channel.conformance import python_testee
python_testee.main()
"""
SELECTOR_TESTEE = """
import asyncio
from ipc_channel.conformance import python_testee
asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
python_testee.main()
"""
GO_PROGRAMS = {
    "testee": "./cmd/testee",
    "echo": "./examples/echo",
    "digest": "./examples/digest",
}


class UnknownJobError(Exception):
    """A word is in the name of no job; the text has all names."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if something fails."""
    options = _options(arguments)
    if (missing := what_is_missing()) is not None:
        print(missing, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="windows-") as name:
        try:
            failed = run(options, Path(name))
        except UnknownJobError as error:
            print(error, file=sys.stderr)
            return 2
    for one in failed:
        print(f"FAILED: {one}")
    return int(bool(failed))


def run(options: argparse.Namespace, place: Path) -> list[str]:
    """Make a Windows in ``place``, run the jobs on copies, and return which have failed."""
    begin = time.monotonic()
    machine = Machine(place / "machine")
    interpreters = [Interpreter(version, place) for version in VERSIONS]
    programs = {name: place / f"go-{name}.exe" for name in GO_PROGRAMS}
    jobs = [
        # The first job of these takes the longest, then that of the next line.
        *conformance(interpreters, machine, programs, full=options.full),
        *unit_tests(interpreters, machine, full=options.full),
        *helpers(interpreters[0], machine, programs, options.node),
    ]
    wanted = chosen(jobs, options.only)
    with ThreadPoolExecutor() as pool:
        making = pool.submit(machine.set_up)
        building = pool.submit(build_go, options.go, programs)
        provide_pythons(options, interpreters)
        making.result()
        compile_packages(options, interpreters, machine)
        building.result()
    print(f"Windows is made, {time.monotonic() - begin:.0f} s", flush=True)
    limit = _LIMIT_FULL if options.full else _LIMIT
    return run_all(wanted, options.jobs, limit, Path(options.folder, "reports"))


def provide_pythons(
    options: argparse.Namespace, interpreters: Sequence[Interpreter]
) -> None:
    """Fetch each Python, one after the other as Maven needs it, and install packages."""
    for interpreter in interpreters:
        interpreter.install(*options.package, str(_wheel(options)))


def compile_packages(
    options: argparse.Namespace, interpreters: Sequence[Interpreter], machine: Machine
) -> None:
    with machine.switched_on():
        for interpreter in interpreters:
            interpreter.compile(_wheel(options), machine)


def _wheel(options: argparse.Namespace) -> Path:
    """Return the newest wheel, as nox keeps the folder."""
    wheels = Path(options.folder).glob("*.whl")
    return max(wheels, key=lambda wheel: wheel.stat().st_mtime)


def chosen(jobs: Sequence[Job], words: Sequence[str]) -> list[Job]:
    """Return the jobs that have one of the words in their names; without words, all."""
    unknown = [word for word in words if not any(word in job.name for job in jobs)]
    if unknown:
        names = "".join(f"\n  {job.name}" for job in jobs)
        raise UnknownJobError(f"no job has {unknown[0]!r} in its name; the jobs are{names}")
    return [job for job in jobs if not words or any(word in job.name for word in words)]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s windows --", description=__doc__)
    for given in ("--go", "--node", "--folder"):  # by noxfile.py
        parser.add_argument(given, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--package", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument(
        "--full",
        action="store_true",
        help="also run the tests of sessions, the long tests, and every group of the suite",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=2 * (os.cpu_count() or 1),
        help="how many run at a time; %(default)s unless given",
    )
    parser.add_argument(
        "only",
        nargs="*",
        metavar="WORD",
        help="run only jobs that have a WORD in their names, such as Go or 'helper, echo';"
        " one that is in no name lists all names",
    )
    return parser.parse_args(arguments)


def build_go(go: str, programs: Mapping[str, Path]) -> None:
    """Build programs of the Go client for Windows."""
    for name, program in programs.items():
        subprocess.run(
            [go, "build", "-o", str(program), GO_PROGRAMS[name]],
            cwd=ROOT / "go-client",
            env={**os.environ, "GOOS": "windows", "GOARCH": "amd64"},
            check=True,
        )


def unit_tests(
    interpreters: Sequence[Interpreter], machine: Machine, *, full: bool
) -> Iterator[Job]:
    """Run the tests of what is Windows' own, and with ``full`` those of sessions, too.

    Without ``full``, the tests under load run on the newest Python only.
    """
    env = {
        "CI": "1",  # Hypothesis is then deterministic, here as well
        "HYPOTHESIS_PROFILE": "quick",
        "LONG_TESTS": "1" if full else "",
        "PYTHONUNBUFFERED": "1",
    }
    options = (
        "-v",
        "--durations=10",
        "-p",
        "no:cacheprovider",
        "-o",
        "console_output_style=classic",
    )
    for one in interpreters:
        tests = WINDOWS_TESTS if full else OWN_TESTS
        if not full and one is not interpreters[0]:
            tests = [test for test in tests if test not in LOAD_TESTS]
        own = machine.another(f"unit-tests-{one.version}")
        command = one.pytest(own, *options, *tests, env=env)
        yield Job(f"unit tests, Python {one.version}", own, command)


def helpers(
    one: Interpreter, machine: Machine, programs: dict[str, Path], node: str
) -> Iterator[Job]:
    """Have a service on Windows use helpers in each language."""
    service = windows_path(HERE / "service.py")
    for kind in ("echo", "digest"):
        own = machine.another(f"helper-go-{kind}")
        go = one.command(own, service, kind, windows_path(programs[kind]))
        yield Job(f"a service and its Go helper, {kind}", own, go)
        own = machine.another(f"helper-python-{kind}")
        script = windows_path(ROOT / "python" / "examples" / f"{kind}.py")
        python = one.command(own, service, kind, one.program, script)
        yield Job(f"a service and its Python helper, {kind}", own, python)
        own = machine.another(f"helper-node-{kind}")
        helper = (node, str(ROOT / "js-client" / "examples" / f"{kind}.js"))
        meet = (sys.executable, str(HERE / "meet.py"), *one.command(own, service, kind))
        meeting = (*meet, "--", *helper)
        yield Job(f"a service and a Node helper on Linux, {kind}", own, meeting)


def conformance(
    interpreters: Sequence[Interpreter],
    machine: Machine,
    programs: dict[str, Path],
    *,
    full: bool,
) -> Iterator[Job]:
    """Run the whole suite on the newest Python, and what loops may change on the oldest."""
    newest, oldest = interpreters
    some = () if full else tuple(f"--run={group}" for group in SESSIONS)
    own = machine.another("suite-python")
    testee = newest.command(own, "-c", TESTEE)
    yield _suite(f"Python {newest.version}", "python", own, testee)
    own = machine.another("suite-selector")
    testee = oldest.command(own, "-c", SELECTOR_TESTEE)
    yield _suite(f"Python {oldest.version}, selector loop", "python", own, testee, *some)
    own = machine.another("suite-blocking")
    testee = oldest.command(own, "-m", "ipc_channel.conformance.sync_testee")
    yield _suite(f"Python {oldest.version}, blocking", "python", own, testee, *some)
    own = machine.another("suite-go")
    yield _suite("Go", "go", own, own.command(programs["testee"]))


def _suite(
    name: str, client: str, machine: Machine, testee: Sequence[str], *more: str
) -> Job:
    known = HERE / f"known_failing_{client}.txt"
    skipped = HERE / f"not_tested_{client}.txt"
    lines = (line.partition("#")[0].strip() for line in skipped.read_text().splitlines())
    command = [
        str(Path(sys.executable).with_name("ipc-channel")),
        *("conformance", "--transport", "tcp", "--known-failing", str(known)),
        *(f"--skip={line}" for line in lines if line),
        *more,
        # A start under Wine keeps a core busy, and other jobs run as well.
        *("--jobs", str(os.cpu_count() or 1), "--timeout", "60"),
        "--trace",
        *("--", *testee),
    ]
    reasons = "\n".join(file.read_text() for file in (known, skipped))
    return Job(f"conformance, {name}", machine, command, reasons)


if __name__ == "__main__":
    sys.exit(main())
