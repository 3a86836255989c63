"""Commands that run side by side, and how they are reported."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from on_windows import network
from on_windows.machine import Machine

ROOT = Path(__file__).parents[2]
_SHOWN = 12  # lines of a good job


@dataclass(frozen=True)
class Job:
    """A command that ends with status 0 if all is well."""

    name: str
    machine: Machine
    """What it runs programs on, and nothing else does."""
    command: Sequence[str]
    reasons: str = ""
    """What is shown if it fails: why something fails that should not, perhaps."""


def run_all(jobs: Sequence[Job], width: int, limit: float) -> list[str]:
    """Run jobs, ``width`` at a time, each for ``limit`` seconds at most.

    Return the names of those that failed, after printing what they said: last, where it
    is seen.
    """

    def run(job: Job) -> str:
        if not network.leave():
            print("no network of its own, so Wine may be slow:", job.name)
        with job.machine.switched_on():
            return _run(job, limit)

    with ThreadPoolExecutor(width) as pool:
        reports = dict(zip((job.name for job in jobs), pool.map(run, jobs), strict=True))
    failed = {name: report for name, report in reports.items() if report}
    print(*failed.values(), sep="\n", flush=True)
    return list(failed)


def _run(job: Job, limit: float) -> str:
    """Run a job, and return what to say if it fails; "" if all is well."""
    begin = time.monotonic()
    process = subprocess.Popen(
        job.command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    text, status = _result(process, limit)
    verdict = "good" if status == 0 else f"FAILED, with status {status}"
    line = f"== {job.name}: {verdict}, {time.monotonic() - begin:.0f} s"
    print(line, _tail(text), sep="\n", flush=True)
    return "" if status == 0 else f"{line}\n{text}\n{job.reasons}"


def _result(process: subprocess.Popen[bytes], limit: float) -> tuple[str, int | str]:
    """Wait for the end of a process; return its output and its status."""
    try:
        output, _ = process.communicate(timeout=limit)
        status: int | str = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = f"none in {limit:.0f} s"
    return output.decode("utf-8", "replace").replace("\r\n", "\n"), status


def _tail(text: str) -> str:
    """Return the last lines, which say what was run and what was not."""
    return "\n".join(text.rstrip().splitlines()[-_SHOWN:])
