"""Runs the command of the suite, against the Python testee or a wrong one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipc_channel.conformance.case import TRANSPORTS
from ipc_channel.conformance.runner import Result, Run, RunOfAll, greet

HERE = Path(__file__).parent
WRONG = [sys.executable, str(HERE / "wrong.py")]
RIGHT = [sys.executable, "-m", "ipc_channel.conformance.python_testee"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ipc_channel.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_suite(tmp_path: Path, *arguments: str, testee: list[str]) -> tuple[int, Any]:
    """Run the suite; return its status and its report."""
    file = tmp_path / "report.json"
    done = run("conformance", *arguments, "--report", str(file), "--", *testee)
    assert file.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(file.read_text("utf-8"))


def results_of(
    testee: list[str], ids: Sequence[str], transports: Sequence[str] = TRANSPORTS
) -> list[Result]:
    """Run these cases strictly in this process, without a first check."""
    run = Run(testee, transports, ids, strict=True, patience=4, first_check=False)
    results: list[Result] = []

    async def run_all() -> None:
        greeting = await greet(run)
        await RunOfAll(run, greeting.can, results.append).complete()

    asyncio.run(run_all())
    return results


def statuses(report: Any) -> dict[str, str]:
    return {f"{one['id']} [{one['transport']}]": one["status"] for one in report["results"]}
