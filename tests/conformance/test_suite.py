"""The suite itself: a right client passes, and every wrong one is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.wrong import FAULTS

WRONG = Path(__file__).with_name("wrong.py")
RIGHT = [sys.executable, "-m", "ipc_channel.conformance.python_testee"]


def run_suite(
    tmp_path: Path, *arguments: str, testee: list[str]
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the command; return what it said, and its report."""
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "ipc_channel.cli", "conformance", *arguments]
    done = subprocess.run(
        [*command, "--report", str(file), "--", *testee],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return done, report


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_client_is_found(fault: str, tmp_path: Path) -> None:
    _, pattern = FAULTS[fault]
    options = ["--run", pattern, "--timeout", "4"]
    done, report = run_suite(
        tmp_path, *options, testee=[sys.executable, str(WRONG), fault]
    )
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [one["id"] for one in report["results"] if one["status"] == "failed"]
    assert pattern in failed
