"""Runs the suite against variants of a client, and says whether it has found each."""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.jobs import Jobs
from conformance.mutated import ROOT, Client
from conformance.variants import Variant

RUN_TIMEOUT = 600  # seconds
PATIENCE = 6  # seconds that a testee may take for anything
TRIES = 3

# Which cases can see a fault of a file with this in its name: fewer take less time,
# and what they do not find may still be found by others.
CASES = {
    **{
        name: ["--run", "requests"]
        for name in ("request", "handling.", "exchange.", "caller.", "callee.")
    },
    "rendezvous.": ["--run", "rendezvous", "--run", "environment"],
    "address.": ["--run", "rendezvous", "--run", "environment"],
    "path.": ["--run", "rendezvous", "--run", "environment"],
    "pipe": ["--transport", "named_pipe", "--skip", "rendezvous", "--skip", "requests"],
    "fifo": ["--transport", "named_pipe", "--skip", "rendezvous", "--skip", "requests"],
    "user": ["--transport", "named_pipe", "--skip", "rendezvous", "--skip", "requests"],
    "tcp": ["--transport", "tcp", "--skip", "rendezvous", "--skip", "requests"],
    "socket": ["--transport", "tcp", "--skip", "rendezvous", "--skip", "requests"],
    "": [
        *("--skip", "rendezvous", "--skip", "connect/refused"),
        *("--skip", "environment", "--skip", "requests"),
    ],
}


@dataclass(frozen=True)
class Fate:
    """What became of a variant."""

    kind: str
    """``found``, ``survived``; ``unsteady`` if the machine may have been too slow,
    ``error`` if the suite itself went wrong; ``unusable`` if it is no client at all."""
    text: str = ""
    """What has found it, or why it is unsteady."""


@dataclass(frozen=True)
class Failure:
    """The first case that failed in a run of the suite."""

    id: str
    transport: str
    what: str

    def is_of_same_case(self, other: Failure | None) -> bool:
        return other is not None and (self.id, self.transport) == (
            other.id,
            other.transport,
        )

    @property
    def options(self) -> list[str]:
        """What runs that case alone."""
        return ["--run", self.id, "--transport", self.transport, "--no-first-check"]

    @property
    def fate(self) -> Fate:
        is_error = self.what == "an error of the suite itself"
        text = f"{self.id} [{self.transport}]: {self.what}"
        return Fate("error" if is_error else "found", text)


class UnusableError(Exception):
    """A variant does not build, or does not begin as a testee."""


class NoVerdictError(Exception):
    """A run of the suite did not come to its end."""


class Judge:
    """Copies of a client in which its variants are tried, several at a time."""

    def __init__(self, client: Client, directory: Path, copies: int, jobs: Jobs) -> None:
        self._client = client
        self._jobs = jobs
        self._unchanged = self._copy(directory / "unchanged")
        self._trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(copies):
            self._trees.put(self._copy(directory / str(number)))

    def _copy(self, tree: Path) -> Path:
        left_out = shutil.ignore_patterns("node_modules", "__pycache__", "test")
        for part in self._client.parts:
            shutil.copytree(ROOT / part, tree / part, ignore=left_out)
        return tree

    def try_unchanged(self) -> Fate:
        """Run the suite against the client as it is, which no case may find."""
        if self._jobs.run(self._client.build(self._unchanged), RUN_TIMEOUT) != 0:
            return Fate("unusable")
        failure = self._first_failure(self._unchanged, CASES[""])
        return failure.fate if failure else Fate("survived")

    def try_out(self, variant: Variant) -> Fate:
        """Return what became of a variant."""
        tree = self._trees.get()
        target = tree / variant.file
        original = target.read_text("utf-8")
        target.write_text(variant.code, "utf-8")
        try:
            key = next(key for key in CASES if key in variant.file.lower())
            return self._judge(tree, CASES[key])
        except UnusableError:
            return Fate("unusable")
        except NoVerdictError as error:
            return Fate("unsteady", str(error))
        finally:
            target.write_text(original, "utf-8")
            self._trees.put(tree)

    def _judge(self, tree: Path, cases: list[str]) -> Fate:
        if self._jobs.run(self._client.build(tree), RUN_TIMEOUT) != 0:
            return Fate("unusable")
        # What takes longest finds least.
        fate = self._find(tree, [*cases, "--skip", "load"])
        if fate.kind == "survived" and "--run" not in cases:
            return self._find(tree, ["--run", "load", "--no-first-check"])
        return fate

    def _find(self, tree: Path, cases: list[str]) -> Fate:
        """Return what finds a variant and, at the same time, not the client unchanged."""
        doubtful = ""
        for _ in range(TRIES):
            failure = self._first_failure(tree, cases)
            if failure is None:
                return Fate("survived")
            if self._is_certain(tree, failure):
                return failure.fate
            doubtful = failure.fate.text
        return Fate("unsteady", doubtful)

    def _is_certain(self, tree: Path, failure: Failure) -> bool:
        """Whether the variant fails a case again, and the client as it is does not.

        On a busy machine a case may fail with nothing wrong. So the variant gets more
        time for the case, which runs alone, and the unchanged client no more than usual.
        """
        again = self._first_failure(tree, failure.options, patience=2 * PATIENCE)
        if not failure.is_of_same_case(again):
            return False
        return self._first_failure(self._unchanged, failure.options) is None

    def _first_failure(
        self, tree: Path, options: list[str], patience: float = PATIENCE
    ) -> Failure | None:
        with tempfile.TemporaryDirectory(dir=tree) as directory:
            report = Path(directory) / "report.json"
            more = ["--timeout", str(patience), "--report", str(report), *options]
            self._run_suite(self._client.command(tree), more)
            return first_failure_in(json.loads(report.read_text("utf-8")))

    def _run_suite(self, testee: list[str], options: list[str]) -> None:
        suite = [sys.executable, "-m", "ipc_channel.cli", "conformance"]
        command = [*suite, "--strict", "--max-failures", "1", *options, "--", *testee]
        env = os.environ | {"PYTHONPATH": str(ROOT / "python")}
        status = self._jobs.run(command, RUN_TIMEOUT, env)
        if status == 2:
            raise UnusableError
        if status is None:
            raise NoVerdictError(f"a run of the suite has not ended in {RUN_TIMEOUT} s")
        if status not in (0, 1):
            raise NoVerdictError(f"a run of the suite ended with status {status}")


def first_failure_in(report: dict[str, Any]) -> Failure | None:
    for one in report["results"]:
        if one["status"] == "failed":
            return Failure(one["id"], one["transport"], one["what"])
    return None
