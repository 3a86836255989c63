"""The benchmark of requests: that it runs and computes, not what it finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.callers import WAYS, Call
from benchmarks.requests import WORKS, Work, is_possible, measure

INSTALLED = [name for name in WAYS if not name.startswith("gRPC")]


def test_each_way_does_each_work() -> None:
    """In a process of its own, as ProcessPoolExecutor leaves one that lives as long."""
    command = [sys.executable, "-m", "benchmarks.requests", "--smoke", "--ways", *INSTALLED]
    wide = {"COLUMNS": "200"}  # or large figures would leave names no room
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **wide}
    shown = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    for name in INSTALLED:
        rows = [line for line in shown.stdout.splitlines() if f"│ {name} " in line]
        assert len(rows) == sum(is_possible(work, name) for work in WORKS)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.title)
async def test_a_wrong_answer_is_found(work: Work) -> None:
    async def wrong(payload: bytes) -> bytes:
        return payload[1:]

    call: Call = wrong
    with pytest.raises(ValueError, match="an answer is wrong"):
        await measure(call, work, 2)
