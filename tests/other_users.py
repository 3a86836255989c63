"""Users that are not ours, for tests that run as root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

STRANGER = 12345
"""A user id that is not ours."""

needs_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="NOT TESTED: a process of another user needs root to start; "
    "the same rule is checked without one by test_who_may_enter",
)


def in_a_user_namespace(code: str, uid_map: str = "0 0 1") -> str:
    """Run ``code`` in a namespace that maps users as told; return what it prints."""
    program = (
        "import os, socket, sys\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "CLONE_NEWUSER = 0x10000000\n"
        "import ctypes\n"
        "if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):\n"
        "    raise OSError(ctypes.get_errno(), 'unshare')\n"
        "sys.argv[1] and open('/proc/self/uid_map', 'w').write(sys.argv[1])\n" + code
    )
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", program, uid_map, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    if "'unshare'" in done.stderr:
        pytest.skip(f"NOT TESTED: no user namespace can be made: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextlib.contextmanager
def as_user(user: int) -> Iterator[None]:
    """Have the kernel take what this process does for the doing of ``user``."""
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
