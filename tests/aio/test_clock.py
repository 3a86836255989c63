"""Time is the loop's: what stops or moves the clock of the process changes nothing.

Test suites stop it, for instance with freezegun, and let the loop's clock run.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

import ipc_channel
import raw
from conftest import Connect
from raw import PATIENCE

PACKAGE = Path(ipc_channel.__file__).parent


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop every clock but those of the loops."""
    monotonic, now = time.monotonic, time.monotonic()
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda _: monotonic())
    for name in ("monotonic", "time", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: now)


@pytest.mark.usefixtures("frozen")
async def test_connect_gives_up(transport: Any, role: str, tmp_path: Path) -> None:
    ours = raw.make(role, transport, tmp_path)
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert not await asyncio.wait_for(ours.connect(0.2), PATIENCE)
    assert loop.time() >= start + 0.2  # not a difference, which may round down
    await ours.close()


async def test_close_gives_up(connect: Connect, request: pytest.FixtureRequest) -> None:
    async with connect(linger=0.1) as (ours, _):
        writing = asyncio.create_task(ours.write(bytes(2**24)))
        await asyncio.sleep(0)
        request.getfixturevalue("frozen")
        await asyncio.wait_for(ours.close(), PATIENCE)
        await asyncio.wait({writing})
        assert writing.exception() is not None


# These wait for nothing by it. The first two measure what has passed; the others count how
# far two signals are apart, where no loop may run; the last is a loop.
HAVE_A_CLOCK = {
    "locked_directory.py",
    "helper_process.py",
    "helper_side.py",
    "service_signals.py",
    "caller_loop.py",
}


def test_no_module_looks_at_another_clock() -> None:
    clocks = re.compile(r"^\s*(import time|from time import|import datetime)", re.MULTILINE)
    modules = [
        path
        for path in PACKAGE.rglob("*.py")
        if "conformance" not in path.relative_to(PACKAGE).parts
    ]
    found = {path.name for path in modules if clocks.search(path.read_text("utf-8"))}
    assert found == HAVE_A_CLOCK
