"""Users that are not ours, for tests that run as root."""

from __future__ import annotations

import os

import pytest

STRANGER = 12345
"""A user id that is not ours."""

needs_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="NOT TESTED: a process of another user needs root to start; "
    "the same rule is checked without one by test_who_may_enter",
)
