"""Helpers started and ended one after another leave nothing behind.

``HELPERS=1000`` runs as many; by default there are fewer.
"""

from __future__ import annotations

import gc
import os
import tempfile
import tracemalloc
from pathlib import Path

from descriptors import open_descriptors
from helper_programs import connected
from ipc_channel import Helper
from ipc_channel.sync import Helper as BlockingHelper
from process_tree import children
from raw import PATIENCE

HELPERS = int(os.environ.get("HELPERS", "20"))
TALKS = connected(
    r"os.write(2, b'a line\n'); os.write(w, b'\0\0\0\1x')" + "\n"
    "while os.read(r, 1 << 16): pass\n"
)


class Holdings:
    """What this process holds: descriptors, processes, directories and memory."""

    def __init__(self) -> None:
        gc.collect()
        self.things = (
            open_descriptors(),
            children(),
            sorted(Path(tempfile.gettempdir()).glob("ipc-channel-*")),
        )
        self.memory = tracemalloc.get_traced_memory()[0]


def assert_constant(before: Holdings, after: Holdings) -> None:
    assert before.things == after.things
    assert after.memory - before.memory < 100_000


async def test_one_after_another() -> None:
    lines: list[str] = []

    async def one() -> None:
        async with Helper(TALKS, stderr=lines.append, timeout=PATIENCE) as channel:
            assert await channel.read() == b"x"

    await one()
    tracemalloc.start()
    before = Holdings()
    for _ in range(HELPERS):
        await one()
    lines.clear()
    after = Holdings()
    tracemalloc.stop()
    assert_constant(before, after)


def test_one_after_another_without_asyncio() -> None:
    def one() -> None:
        with BlockingHelper(TALKS, stderr="discard", timeout=PATIENCE) as channel:
            assert channel.read() == b"x"

    one()
    tracemalloc.start()
    before = Holdings()
    for _ in range(HELPERS):
        one()
    after = Holdings()
    tracemalloc.stop()
    assert_constant(before, after)
