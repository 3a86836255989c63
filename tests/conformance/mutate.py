"""Mutation testing of the conformance suite: ``nox -s suite_mutants``.

Faulty variants are made out of the clients' own code (variants.py), each in a
copy, and the suite has to find every one. A variant that survives is explained
in survivors.toml, by what it changes: as equivalent, or as a gap of the suite.
One that is explained is not run again. What does not build, or does not begin as
a testee, is no variant.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from conformance.variants import Variant, sample  # noqa: E402  # found by the line above

SURVIVORS = Path(__file__).with_name("survivors.toml")
RUN_TIMEOUT = 600  # seconds
# What is not for this system, or nothing that a testee needs but texts for people.
LEFT_OUT = (
    "_other.go",
    "_windows.go",
    "_darwin.go",
    "_test.go",
    "/describe.go",
    "/stream.js",
    "/spelling.js",
)
PYTHON = [
    "endpoint",
    "framing",
    "named_pipe",
    "pipe_files",
    "pipe_stream",
    "pipe_write",
    "receiver",
    "rendezvous",
    "sender",
    "session",
    "stream",
    "tcp_socket",
    "tcp_stream",
]
NOT_OF_A_CLIENT = {  # functions and classes
    *("PosixNamedPipeChannel", "TCPSocketChannel", "TCPSocketProtocol", "_TakenOver"),
    *("_take_over", "check_users", "_tell_who_reads", "mark_as_read_by_server"),
    *("default_transport", "to_environment", "check_named_pipes_exist", "warn_unclosed"),
    *("__repr__", "__getstate__", "__del__", "_name", "_state", "_describe", "_log_end"),
    *("check_loop_argument", "check_logger", "check_running", "check_loop", "_check_loop"),
    *("disconnect", "deserted", "abandon", "hindrance", "closing"),
}
COUNTS = {"go": 70, "js": 70, "python": 70}


# Which cases can see a fault of a file whose name holds this: fewer are sooner done,
# and what they do not find may still be found by others.
CASES = {
    "rendezvous.": ["--run", "rendezvous", "--run", "environment"],
    "pipe": ["--transport", "named_pipe", "--skip", "rendezvous"],
    "fifo": ["--transport", "named_pipe", "--skip", "rendezvous"],
    "user": ["--transport", "named_pipe", "--skip", "rendezvous"],
    "tcp": ["--transport", "tcp", "--skip", "rendezvous"],
    "socket": ["--transport", "tcp", "--skip", "rendezvous"],
    "": ["--skip", "rendezvous", "--skip", "connect/refused", "--skip", "environment"],
}


@dataclass(frozen=True)
class Client:
    """What is changed, and how the testee of a copy is built and started."""

    parts: tuple[str, ...]
    files: list[str]
    build: Callable[[Path], list[str]]
    command: Callable[[Path], list[str]]


def files_in(directory: str, ending: str) -> list[str]:
    found = sorted((ROOT / directory).glob(f"*{ending}"))
    return [str(one.relative_to(ROOT)) for one in found if not str(one).endswith(LEFT_OUT)]


def clients(go: str, node: str) -> dict[str, Client]:
    return {
        "go": Client(
            ("go-client",),
            files_in("go-client", ".go"),
            lambda tree: [
                *(go, "-C", f"{tree}/go-client", "build", "-o", f"{tree}/testee"),
                "./cmd/testee",
            ],
            lambda tree: [f"{tree}/testee"],
        ),
        "js": Client(
            ("js-client",),
            files_in("js-client/lib", ".js"),
            lambda tree: ["true"],
            lambda tree: [node, f"{tree}/js-client/testee.js"],
        ),
        "python": Client(
            ("python",),
            [f"python/ipc_channel/{name}.py" for name in PYTHON],
            lambda tree: ["true"],
            lambda tree: [
                *("env", f"PYTHONPATH={tree}/python", "PYTHONDONTWRITEBYTECODE=1"),
                *(sys.executable, "-m", "ipc_channel.conformance.python_testee"),
            ],
        ),
    }


class Bench:
    """Copies of a client in which its variants are tried."""

    def __init__(self, client: Client, directory: Path, workers: int) -> None:
        self._client = client
        self._trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for worker in range(workers):
            tree = directory / str(worker)
            for part in client.parts:
                left_out = shutil.ignore_patterns("node_modules", "__pycache__", "test")
                shutil.copytree(ROOT / part, tree / part, ignore=left_out)
            self._trees.put(tree)

    def try_out(self, variant: Variant | None) -> str:
        """Return what found a variant: the name of a case, or "survived", "unusable"."""
        tree = self._trees.get()
        try:
            if variant is None:
                return self._run(tree, CASES[""])
            target = tree / variant.file
            original = target.read_text("utf-8")
            target.write_text(variant.code, "utf-8")
            try:
                key = next(key for key in CASES if key in variant.file.lower())
                return self._run(tree, CASES[key])
            finally:
                target.write_text(original, "utf-8")
        finally:
            self._trees.put(tree)

    def _run(self, tree: Path, cases: list[str]) -> str:
        build = self._client.build(tree)
        if subprocess.run(build, capture_output=True, check=False).returncode:
            return "unusable"
        # What takes longest finds least.
        fate = self._find_twice(tree, *cases, "--skip", "load")
        if fate == "survived" and "--run" not in cases:
            return self._find_twice(tree, "--run", "load", "--no-first-check")
        return fate

    def _find_twice(self, tree: Path, *options: str) -> str:
        """Ask again: on a busy machine a case may fail for once, with nothing wrong."""
        fate = ""
        for _ in range(3):
            if (fate := self._find(tree, *options)) in ("survived", "unusable"):
                return fate
            case, transport = fate.split()
            same = ["--run", case, "--transport", transport, "--no-first-check"]
            if self._find(tree, *same) == fate:
                return fate
        return f"unsteady: {fate}"

    def _find(self, tree: Path, *options: str) -> str:
        report = tree / "report.json"
        report.unlink(missing_ok=True)
        options = (*options, "--report", str(report))
        status = run_suite(self._client.command(tree), options)
        if status == 0:
            return "survived"
        if status == 2 or not report.exists():
            return "unusable"
        results = json.loads(report.read_text("utf-8"))["results"]
        failed = [one for one in results if one["status"] == "failed"]
        return f"{failed[0]['id']} {failed[0]['transport']}"


def run_suite(testee: list[str], more: Sequence[str]) -> int:
    """Return the status of the suite."""
    options = ["--strict", "--max-failures", "1", "--timeout", "6", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "ipc_channel.cli", "conformance", *options, "--", *testee],
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(RUN_TIMEOUT)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def explained() -> dict[str, Any]:
    """Return the explanations of variants that survive, by file."""
    return tomllib.loads(SURVIVORS.read_text("utf-8"))


def explanation_of(variant: Variant, known: dict[str, Any]) -> dict[str, Any] | None:
    for one in known.get(variant.file, []):
        if (one["before"], one["after"]) == (variant.before, variant.after):
            return dict(one)
    return None


def try_client(
    name: str, client: Client, options: argparse.Namespace, known: dict[str, Any]
) -> Counter[str]:
    """Try the variants of a client; print and count what became of them."""
    count = COUNTS[name] if options.count is None else options.count
    wanted = sample(ROOT, client.files, NOT_OF_A_CLIENT, count, options.seed)[
        options.begin :
    ]
    counts: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as directory,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        bench = Bench(client, Path(directory), options.jobs)
        if (fate := bench.try_out(None)) != "survived":
            raise RuntimeError(f"{name}: without any change: {fate}")

        def judge(variant: Variant) -> tuple[str, str]:
            explanation = explanation_of(variant, known)
            if explanation is None:
                fate = bench.try_out(variant)
                kind = fate.partition(":")[0]
                kinds = ("survived", "unusable", "unsteady")
                return (kind if kind in kinds else "found"), fate
            return ("gap" if explanation.get("gap") else "equivalent"), explanation["why"]

        for variant, (kind, fate) in zip(wanted, pool.map(judge, wanted), strict=True):
            counts[kind] += 1
            print(f"{variant.file}:{variant.line} {variant.kind}: {kind}: {fate}")
            print(f"    {variant.before}\n    {variant.after}", flush=True)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s suite_mutants --", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help="go, js or python")
    parser.add_argument("--count", type=int, help="how many variants of each client")
    parser.add_argument("--begin", type=int, default=0, help="how many are left out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--go", default="go", help="the Go tool")
    parser.add_argument("--node", default="node")
    options = parser.parse_args()
    all_clients = clients(options.go, options.node)
    total: Counter[str] = Counter()
    for name in options.clients or all_clients:
        counts = try_client(name, all_clients[name], options, explained())
        print(f"{name}: {dict(counts)}", flush=True)
        total += counts
    faulty = sum(total[kind] for kind in ("found", "unsteady", "gap", "survived"))
    print(f"found {total['found']} of {faulty} faulty variants: {shlex.join(sys.argv)}")
    return min(total["survived"], 1)


if __name__ == "__main__":
    sys.exit(main())
