"""Helpers of the worst kinds: each ends in time, is told of, and the next one is started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import EndReason, Helper, IPCChannelError, Supervisor, make_ipc_channel
from process_tree import children, kill_if_alive, lives
from raw import PATIENCE, eventually
from supervising import (
    NO_PAUSE,
    at_first,
    check_story,
    only,
    supervise,
    unconnected_at_first,
)

GRACE = 0.2
FLOOD = 10**9 if os.environ.get("LONG_TESTS") else 10**7  # bytes
# What a child of the helper does, which says its pid first.
CHILD = """
r2, w2 = os.pipe()
pid = os.fork()
if pid == 0:
    {child}
    os.write(w2, b".")
    import time
    while os.read(r, 1 << 16): pass
    while {stays}: time.sleep(0.02)
    os._exit(0)
os.read(r2, 1)
p = str(pid).encode()
os.write(w, len(p).to_bytes(4, "big") + p)
os._exit({status})
"""
CLOSES_ALL = "os.closerange(0, 1024); import time; time.sleep(1000)"
FLOODS = """
while True: os.write(w, b"\\0\\0\\0\\1x" * 10_000)
"""


def make(transport: Any, command: list[str], **options: Any) -> Helper:
    options = {"grace": GRACE, **options}
    return Helper(command, make_ipc_channel(transport=transport), **options)


def with_child(child: str = "pass", *, stays: bool = True, status: int = 0) -> str:
    return CHILD.format(child=child, stays=stays, status=status)


async def test_one_that_never_connects(transport: Any, tmp_path: Path) -> None:
    """Its loss says so, and that it was ended."""
    bad = "import time; time.sleep(1000)"
    command = unconnected_at_first(tmp_path / "flag", bad)
    helper = make(transport, command, timeout=2.0)  # enough for one that does connect
    lives_, events = await supervise(helper)
    assert lives_ == [[b"well"]]
    lost = only(events, "lost")
    assert lost.reason == "not_connected"
    assert "did not connect in 2.0 s" in str(lost.error)
    assert lost.result is not None
    assert lost.result.signal == "SIGTERM"


async def test_one_that_ignores_sigterm_and_never_connects(
    transport: Any, tmp_path: Path
) -> None:
    """It is killed."""
    bad = "import _signal, time; _signal.signal(15, _signal.SIG_IGN); time.sleep(1000)"
    command = unconnected_at_first(tmp_path / "flag", bad)
    helper = make(transport, command, timeout=2.0)
    lives_, events = await supervise(helper)
    assert lives_ == [[b"well"]]
    lost = only(events, "lost")
    assert lost.result is not None
    assert lost.result.signal == "SIGKILL"


async def test_one_that_closes_all_its_descriptors(transport: Any, tmp_path: Path) -> None:
    """Its session ends, but it does not, and so it is ended."""
    before = open_descriptors()
    helper = make(transport, at_first(tmp_path / "flag", CLOSES_ALL))
    lives_, events = await supervise(helper)
    assert lives_ == [[], [b"well"]]
    lost = only(events, "lost")
    assert lost.reason == "lingering"
    assert lost.end_reason is EndReason.EOF
    assert f"did not exit in {GRACE} s" in str(lost)
    assert lost.result is not None
    assert lost.result.signal == "SIGTERM"
    assert open_descriptors() == before
    assert children() == []


@pytest.mark.parametrize("deaf", [False, True], ids=["", "and ignores SIGTERM"])
async def test_one_whose_child_keeps_the_channel(
    transport: Any, tmp_path: Path, *, deaf: bool
) -> None:
    """The child is ended with the group, so the body is not left waiting."""
    child = "import _signal; _signal.signal(15, _signal.SIG_IGN)" if deaf else "pass"
    bad = with_child(child, status=5)
    helper = make(transport, at_first(tmp_path / "flag", bad))
    lives_, events = await supervise(helper)
    ((pid,), well) = lives_
    assert well == [b"well"]
    lost = only(events, "lost")
    assert lost.reason == "ended"
    assert lost.result is not None
    assert lost.result.status == 5
    await eventually(lambda: not lives(int(pid)))


@pytest.mark.parametrize("process_group", [True, False])
async def test_one_that_daemonises(
    transport: Any, tmp_path: Path, *, process_group: bool
) -> None:
    """The daemon is out of reach, so its session is ended, which it sees."""
    bad = with_child("os.setsid()", stays=False)
    helper = make(transport, at_first(tmp_path / "flag", bad), process_group=process_group)
    lives_, events = await supervise(helper)
    ((pid,), well) = lives_
    assert well == [b"well"]
    lost = only(events, "lost")
    assert lost.reason == "held_open"
    assert "kept its session open" in str(lost)
    assert lost.result is not None
    assert lost.result.status == 0
    await eventually(lambda: not lives(int(pid)))


async def test_a_daemon_that_stays(transport: Any, tmp_path: Path) -> None:
    """It holds its end of the channel for ever, and the next helper gets another."""
    before = open_descriptors()
    bad = with_child("os.setsid()", stays=True)
    helper = make(transport, at_first(tmp_path / "flag", bad))
    lives_, events = await supervise(helper)
    ((pid,), well) = lives_
    try:
        assert lives(int(pid))
    finally:
        kill_if_alive(int(pid))
    assert well == [b"well"]
    assert only(events, "lost").reason == "held_open"
    assert open_descriptors() == before


async def test_a_body_that_is_slow_reads_all_that_a_daemon_has_sent(
    transport: Any, tmp_path: Path
) -> None:
    """A session that another process keeps open is not ended before that."""
    bad = "os.write(w, b'\\0\\0\\0\\1x' * 20)\n" + with_child("os.setsid()", stays=False)
    helper = make(transport, at_first(tmp_path / "flag", bad))
    read: list[bytes] = []
    events: list[Any] = []
    async with Supervisor(helper, backoff=NO_PAUSE, on_event=events.append) as supervisor:
        async for channel in supervisor:
            if events[-1].attempt == 2:
                break
            await channel.write(b"go")
            await helper.process.wait()
            async for message in channel:
                read.append(message)
                if len(read) < 10:  # longer than the supervisor would wait
                    await asyncio.sleep(2 * GRACE / 10)
    check_story(events)
    assert read[:20] == [b"x"] * 20
    assert only(events, "lost").unread == 0


async def test_one_that_floods_the_channel(transport: Any, tmp_path: Path) -> None:
    """A body that leaves it behind loses nothing but what it did not read."""
    helper = make(transport, at_first(tmp_path / "flag", FLOODS))
    events: list[Any] = []
    async with Supervisor(helper, backoff=NO_PAUSE, on_event=events.append) as supervisor:
        async for channel in supervisor:
            await channel.write(b"go")
            if events[-1].attempt == 2:
                break
            for _ in range(1000):
                assert await channel.read() == b"x"
            os.kill(helper.process.pid, signal.SIGKILL)
            with contextlib.suppress(IPCChannelError):
                await helper.process.wait()
    check_story(events)
    lost = only(events, "lost")
    assert lost.unread is not None
    assert lost.unread > 0
    assert lost.result is not None
    assert lost.result.signal == "SIGKILL"


async def test_one_that_changes_its_mind_about_a_close(
    transport: Any, tmp_path: Path
) -> None:
    """It has closed its channel well, but not exited in time: that is no good end."""
    bad = "os.write(w, bytes(4))\nimport time\ntime.sleep(1000)"
    helper = make(transport, at_first(tmp_path / "flag", bad))
    lives_, events = await supervise(helper, period=PATIENCE)
    assert lives_ == [[], [b"well"]]
    lost = only(events, "lost")
    assert (lost.reason, lost.end_reason) == ("lingering", EndReason.CLEAN)


async def test_one_that_floods_standard_error(transport: Any, tmp_path: Path) -> None:
    """Its output is read as it comes, and its last lines are those of its end.

    ``LONG_TESTS`` makes it 1 GB.
    """
    bad = (
        f"for _ in range({FLOOD // 10**6}): os.write(2, (b'x' * 99 + b'\\n') * 10_000)\n"
        "os.write(2, b'the end\\n')\nos._exit(7)"
    )
    lines: list[int] = []
    helper = make(
        transport,
        at_first(tmp_path / "flag", bad),
        stderr=lambda line: lines.append(len(line)),
    )
    lives_, events = await supervise(helper)
    assert lives_ == [[], [b"well"]]
    result = only(events, "lost").result
    assert result is not None
    assert result.status == 7
    assert result.last_lines[-1] == "the end"
    assert sum(lines) + len(lines) == FLOOD + len("the end\n")
