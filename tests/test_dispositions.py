"""The tests' own means against what started them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

import dispositions

SHOW = (
    "import signal as s; print(s.getsignal(s.SIGINT) is s.default_int_handler,"
    " s.getsignal(s.SIGHUP) is s.SIG_DFL, s.pthread_sigmask(s.SIG_BLOCK, ()) == set())"
)
HOSTILE = (
    "import os, signal as s, sys; s.signal(s.SIGINT, s.SIG_IGN); s.signal(s.SIGHUP, s.SIG_IGN);"
    "s.pthread_sigmask(s.SIG_BLOCK, (s.SIGTERM,)); sys.path.insert(0, sys.argv[1]);"
    "exec(sys.argv[3]); os.execv(sys.executable, [sys.executable, '-c', sys.argv[2]])"
)


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        ("", "False False False"),
        ("import dispositions as d; d.restore()", "True True True"),
    ],
)
def test_a_child_of_a_hostile_parent(before: str, shown: str) -> None:
    directory = dispositions.__file__.rpartition("/")[0]
    command = [sys.executable, "-c", HOSTILE, directory, SHOW, before]
    assert subprocess.check_output(command, text=True).strip() == shown


def test_our_own_process_takes_signals_and_the_status_of_children() -> None:
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN
    assert subprocess.run([sys.executable, "-c", "exit(3)"], check=False).returncode == 3
