"""The processes that a helper starts: ended with it, and not mistaken for it."""

from __future__ import annotations

import asyncio
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from helper_programs import DEAF, IGNORES, program, told, with_child
from ipc_channel import Helper, make_ipc_channel
from process_tree import child_of, kill_if_alive, lives
from raw import PATIENCE, eventually

# A shell of its own for two commands: the helper proper is its child.
WRAPPED = ["/bin/sh", "-c", f"{shlex.join(IGNORES)}; exit 3"]


async def test_a_helper_behind_a_shell_is_ended_with_it(transport: Any) -> None:
    helper = Helper(WRAPPED, make_ipc_channel(transport=transport), grace=0.05)
    channel = await helper.start()
    assert await channel.read() == b"deaf"
    real = child_of(helper.process.pid)
    assert await helper.stop() == -signal.SIGTERM, "the status is the shell's"
    assert not lives(real)


async def test_after_a_failed_start_too(transport: Any, tmp_path: Path) -> None:
    shown = tmp_path / "pid"
    code = (
        "import os, _signal, time; _signal.signal(15, 1);"
        f"open({str(shown)!r} + '.new', 'w').write(str(os.getpid()));"
        f"os.rename({str(shown)!r} + '.new', {str(shown)!r}); time.sleep(1000)"
    )
    command = ["/bin/sh", "-c", f"{shlex.join(program(code))}; exit 3"]
    helper = Helper(
        command, make_ipc_channel(transport=transport), timeout=PATIENCE, grace=0.05
    )
    starting = asyncio.create_task(helper.start())
    await eventually(shown.exists)
    starting.cancel()
    await asyncio.wait({starting})
    assert not lives(int(shown.read_text()))
    await helper.stop()


async def test_what_a_helper_leaves_may_clean_up(transport: Any, tmp_path: Path) -> None:
    """It gets SIGTERM, and its time, after the helper itself has ended."""
    clean = str(tmp_path / "clean")
    child = f"""def clean_up(*_):
    time.sleep(0.05)
    os.close(os.open({clean!r}, os.O_CREAT))
    os._exit(0)
_signal.signal(_signal.SIGTERM, clean_up)"""
    helper = Helper(
        with_child(child), make_ipc_channel(transport=transport), grace=PATIENCE
    )
    async with helper as channel:
        pid = await told(channel)
    assert helper.process.returncode == 0
    assert Path(clean).exists()
    assert not lives(pid)


async def test_what_a_helper_leaves_is_killed_in_the_end(transport: Any) -> None:
    helper = Helper(with_child(DEAF), make_ipc_channel(transport=transport), grace=0.05)
    channel = await helper.start()
    pid = await told(channel)
    await channel.close()
    assert await helper.process.wait() == 0
    assert lives(pid)
    await helper.stop()
    assert not lives(pid)


@pytest.mark.parametrize(
    "child",
    [
        "",
        DEAF,
        "os.setsid()",
        f"os.setsid()\n{DEAF}",
        f"{DEAF}\nos.closerange(3, w2)\nos.closerange(w2 + 1, 100)",
    ],
    ids=["plain", "deaf", "daemon", "deaf daemon", "without descriptors"],
)
async def test_a_child_that_holds_the_channel_does_not_hide_the_end(
    transport: Any, child: str
) -> None:
    helper = Helper(with_child(child), make_ipc_channel(transport=transport), grace=0.05)
    left = await told(await helper.start())
    helper.process.kill()
    assert await helper.process.wait() == -signal.SIGKILL
    again = await told(await helper.start())
    assert again != left
    assert lives(left) == ("setsid" in child), "only a process that left the group is left"
    await helper.stop()
    for pid in (left, again):
        kill_if_alive(pid)


async def test_the_group_may_be_shared(transport: Any) -> None:
    helper = Helper(
        with_child(""),
        make_ipc_channel(transport=transport),
        process_group=False,
    )
    async with helper as channel:
        pid = await told(channel)
    assert helper.process.returncode == 0
    assert lives(pid), "nothing but the helper is ended"
    kill_if_alive(pid)
    with pytest.raises(TypeError, match="process_group is True or False, not int"):
        Helper(["x"], helper.channel, process_group=1)  # type: ignore[arg-type]  # is to be refused
