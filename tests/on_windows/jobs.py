"""Commands that run side by side, and how they are reported."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from on_windows import network
from on_windows.machine import Machine

ROOT = Path(__file__).parents[2]
_SHOWN = 12  # lines of a good job
_REPEATED = 60  # lines of a failed job at the end of all
_CHUNK = 65_536  # bytes
_LAST_OUTPUT = 30  # seconds for the output to end after everything that writes it


@dataclass(frozen=True)
class Job:
    """A command that ends with status 0 if all is well."""

    name: str
    machine: Machine
    """What it runs programs on, and nothing else does."""
    command: Sequence[str]
    reasons: str = ""
    """What is shown if it fails: why something fails that should not, perhaps."""


def run_all(jobs: Sequence[Job], width: int, limit: float, reports: Path) -> list[str]:
    """Run jobs, ``width`` at a time, each for ``limit`` seconds at most.

    A job is reported as soon as it ends, and its output is in the folder ``reports`` while
    it runs. Return the names of those that failed, after printing the end of what they
    said once more: last, where it is seen.
    """
    shutil.rmtree(reports, ignore_errors=True)  # of an earlier run
    reports.mkdir()

    def run(job: Job) -> str:
        if not network.leave():
            print("no network of its own, so Wine may be slow:", job.name)
        with job.machine.switched_on():
            return _run(job, limit, reports / f"{job.name}.txt")

    with ThreadPoolExecutor(width) as pool:
        results = dict(zip((job.name for job in jobs), pool.map(run, jobs), strict=True))
    failed = {name: report for name, report in results.items() if report}
    for report in failed.values():
        print(report, flush=True)
    return list(failed)


def _run(job: Job, limit: float, path: Path) -> str:
    """Run a job and report it; return a short report if it fails, "" if all is well."""
    begin = time.monotonic()
    status = _status(job, limit, path)
    text = path.read_text("utf-8", "replace")  # with \n for \r\n
    verdict = "FAILED, " + status if status else "good"
    line = f"== {job.name}: {verdict}, {time.monotonic() - begin:.0f} s"
    if not status:
        print(line, _tail(text, _SHOWN), sep="\n", flush=True)
        return ""
    print(line, text, job.reasons, f"== all of it is in {path}", sep="\n", flush=True)
    return f"{line}; all of it is above, and in {path}\n{_tail(text, _REPEATED)}"


def _status(job: Job, limit: float, path: Path) -> str:
    """Run a job's command; return how it ended, "" if well. Its output goes to ``path``."""
    process = subprocess.Popen(
        job.command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # a program under Wine takes no file for its output
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    keeping = threading.Thread(
        target=_keep, args=(process.stdout, path), name=f"output of {job.name}", daemon=True
    )
    keeping.start()
    try:
        returncode = process.wait(limit)
        status = f"with status {returncode}" if returncode else ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        status = f"ended after {limit:.0f} s, the time limit of a job"
    # What it has left running may hold its output open.
    job.machine.end_all()
    keeping.join(_LAST_OUTPUT)
    if keeping.is_alive():
        status = ", ".join(filter(None, (status, "left something running")))
    return status


def _keep(output: IO[bytes], path: Path) -> None:
    """Write output to a file as it comes: it may come slowly, and end within a line."""
    with output, path.open("wb") as file:
        while data := os.read(output.fileno(), _CHUNK):
            file.write(data)
            file.flush()


def _tail(text: str, lines: int) -> str:
    """Return the last lines, which say what was run and what was not."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
