"""A helper that is supervised on Windows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

from helper_programs import BEHAVES, connected
from ipc_channel import Helper, HelperError, Supervisor, SupervisorEvent
from ipc_channel.helper.windows_process import TERMINATED
from supervising import MET, NO_PAUSE, at_first, check_story, only, supervise
from windows_programs import PATIENCE


@pytest.mark.parametrize("status", [3, 0xC0000005])
async def test_a_loss_is_told_and_mended(tmp_path: Path, status: int) -> None:
    bad = (
        f"os.write(2, b'bad'); import ctypes; ctypes.windll.kernel32.ExitProcess({status})"
    )
    helper = Helper(at_first(tmp_path / "flag", bad), timeout=PATIENCE)
    lives, events = await supervise(helper)
    assert lives == [[], [b"well"]]
    lost = only(events, "lost")
    assert lost.result is not None
    assert (lost.result.status, lost.result.last_lines) == (status, ("bad",))
    check_story(events)


async def test_one_that_is_killed_again_and_again() -> None:
    helper = Helper(BEHAVES, timeout=PATIENCE)
    events: list[SupervisorEvent] = []
    async with Supervisor(
        helper, restarts=None, backoff=NO_PAUSE, on_event=events.append
    ) as supervisor:
        async for channel in supervisor:
            if events[-1].attempt == 4:
                break
            helper.process.kill()
            assert await channel.read() is None
    check_story(events)
    losses = [event for event in events if event.kind == "lost"]
    assert [one.reason for one in losses] == ["ended"] * 3
    assert {one.result.status for one in losses if one.result} == {TERMINATED}


async def test_too_many_losses() -> None:
    helper = Helper(connected(f"{MET}; sys.exit(7)"), timeout=PATIENCE)
    with pytest.raises(HelperError, match="status 7"):
        await supervise(helper, restarts=1)
