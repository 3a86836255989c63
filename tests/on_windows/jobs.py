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

ROOT = Path(__file__).parents[2]
_LIMIT = 3600  # seconds of one job


@dataclass(frozen=True)
class Job:
    """A command that ends with status 0 if all is well."""

    name: str
    command: Sequence[str]
    reasons: str = ""
    """What is shown besides its output: why something fails that should not, perhaps."""


def run_all(jobs: Sequence[Job], width: int) -> list[str]:
    """Run jobs, ``width`` at a time; return the names of those that failed."""
    with ThreadPoolExecutor(width) as pool:
        outcomes = pool.map(_run, jobs)
        return [job.name for job, good in zip(jobs, outcomes, strict=True) if not good]


def _run(job: Job) -> bool:
    begin = time.monotonic()
    process = subprocess.Popen(
        job.command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    text, status = _result(process)
    verdict = "good" if status == 0 else f"FAILED, with status {status}"
    seconds = time.monotonic() - begin
    print(f"== {job.name}: {verdict}, {seconds:.0f} s\n{text}\n{job.reasons}", flush=True)
    return status == 0


def _result(process: subprocess.Popen[bytes]) -> tuple[str, int | str]:
    """Wait for the end of a process; return its output and its status."""
    try:
        output, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return output.decode("utf-8", "replace"), f"none in {_LIMIT} s"
    return output.decode("utf-8", "replace"), process.returncode
