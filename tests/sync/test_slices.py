"""Waits that no signal interrupts, as on Windows: its handler runs all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

import uninterrupted_wait


@pytest.mark.parametrize("who", ["leads", "follows"])
def test_ctrl_c_comes_through(who: str) -> None:
    """With "follows", another thread polls for the main thread."""
    done = subprocess.run(
        [sys.executable, uninterrupted_wait.__file__, who],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = "interrupted, and then: later\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr
