"""A transport is added by one module and its registration, and the suite runs over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PAIR = [sys.executable, str(Path(__file__).with_name("socket_pair.py"))]
# With a timeout of 0 the server has no turn to hand anything over, and the suite knows
# the system calls by which clients of our own transports try.
# And a socket tells of room only once much of it is free, not with each page.
NOT_FOR_IT = [
    *("--skip", "connect/at-once", "--skip", "connect/tries*"),
    *("--skip", "lifecycle/close/any-progress-counts"),
]


@pytest.mark.timeout(300)  # hundreds of cases
def test_the_suite_runs_over_a_new_transport() -> None:
    command = [*PAIR, "suite", "conformance", "--strict", "--transport", "pair"]
    done = subprocess.run(
        [*command, *NOT_FOR_IT, "--", *PAIR, "testee"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "263 passed" in done.stdout
