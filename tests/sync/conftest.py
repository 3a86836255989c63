"""What the tests of blocking channels share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import blocking
from conftest import Complaints


@pytest.fixture
def connect(transport: str, role: str, tmp_path: Path) -> blocking.Connect:
    """Over every transport and in both roles: ``with connect() as (ours, peer)``."""
    return functools.partial(blocking.connected, transport, role, tmp_path)


@pytest.fixture(autouse=True)
def no_callback_fails() -> Iterator[None]:
    """Fail a test in which the loop of a channel could only log an exception."""
    complaints = Complaints()
    logger = logging.getLogger("ipc_channel")
    logger.addHandler(complaints)
    yield
    logger.removeHandler(complaints)
    # Those of a test's own functions, which are right to be logged.
    right = ("the handler of a request failed", "a place of the pool stays empty")
    assert [text for text in complaints.texts if not text.startswith(right)] == []
