"""A supervised helper: its lives, and when they are the last."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from helper_programs import BEHAVES, DIES, connected
from ipc_channel import (
    ChannelClosedError,
    EndReason,
    Helper,
    HelperError,
    Supervisor,
    SupervisorEvent,
    make_ipc_channel,
)
from process_tree import children
from supervising import (
    MET,
    NO_PAUSE,
    WELL,
    at_first,
    check_story,
    only,
    read_all,
    supervise,
)

FINISHES = connected(WELL)


def make(transport: Any, command: list[str], **options: Any) -> Helper:
    return Helper(command, make_ipc_channel(transport=transport), **options)


def kinds(events: list[SupervisorEvent]) -> list[str]:
    return [event.kind for event in events]


@pytest.mark.parametrize(
    ("bad", "end_reason", "status"),
    [
        ("sys.exit(3)", EndReason.EOF, 3),
        ("os.kill(os.getpid(), 11)", EndReason.EOF, -11),
        ("os.write(w, b'\\0\\0\\0\\0'); sys.exit(3)", EndReason.CLEAN, 3),
        ("os.write(w, b'\\0\\0'); sys.exit(0)", EndReason.TRUNCATED, 0),
        ("pass", EndReason.EOF, 0),
    ],
    ids=["status", "signal", "a status after a close", "inside a frame", "no close"],
)
async def test_a_loss_is_told_and_mended(
    transport: Any, tmp_path: Path, bad: str, end_reason: EndReason, status: int
) -> None:
    """However a helper ends, its loss is told, and the next one finishes."""
    before = open_descriptors()
    helper = make(transport, at_first(tmp_path / "flag", bad))
    lives, events = await supervise(helper)
    assert lives == [[], [b"well"]]
    story = "starting connected lost restarting starting connected finished"
    assert kinds(events) == story.split()
    lost = only(events, "lost")
    assert lost.reason == "ended"
    assert lost.end_reason is end_reason
    assert lost.result is not None
    assert lost.result.status == status
    assert lost.attempt == 1
    assert only(events, "finished").attempt == 2
    assert lost.unread == 0
    assert open_descriptors() == before
    assert children() == []


async def test_the_channel_is_the_same_in_every_life(transport: Any) -> None:
    """The rendezvous is kept, and so is the channel."""
    helper = make(transport, BEHAVES)
    rendezvous = helper.channel.in_path, helper.channel.out_path
    seen = []
    async with Supervisor(helper, backoff=NO_PAUSE) as supervisor:
        async for channel in supervisor:
            assert channel is helper.channel is supervisor.helper.channel
            seen.append(helper.process.pid)
            if len(seen) == 3:
                break
            helper.process.kill()
            await read_all(channel)
    assert len(set(seen)) == 3
    assert (helper.channel.in_path, helper.channel.out_path) == rendezvous


async def test_always(transport: Any) -> None:
    """With ``always``, a helper that has finished is started again."""
    helper = make(transport, FINISHES)
    events: list[SupervisorEvent] = []
    supervisor = Supervisor(helper, when="always", backoff=NO_PAUSE, on_event=events.append)
    async with supervisor:
        async for channel in supervisor:
            assert await read_all(channel) == [b"well"]
            if events[-1].attempt == 2:
                break
    check_story(events)
    assert kinds(events)[2:4] == ["finished", "restarting"]
    assert kinds(events)[-2:] == ["connected", "finished"] or events[-1].kind == "stopped"


@pytest.mark.parametrize("restarts", [0, 1, 3])
async def test_too_many_losses(transport: Any, restarts: int) -> None:
    """After the allowed restarts, the loop raises what the last helper died of."""
    helper = make(transport, connected(f"{MET}; os.write(2, b'no beans'); sys.exit(7)"))
    events: list[SupervisorEvent] = []
    with pytest.raises(
        HelperError, match=r"status 7; its last lines:\n    no beans"
    ) as failed:
        async with Supervisor(
            helper, restarts=restarts, backoff=NO_PAUSE, on_event=events.append
        ) as supervisor:
            async for channel in supervisor:
                await read_all(channel)
    check_story(events)
    assert kinds(events).count("starting") == restarts + 1
    assert kinds(events).count("lost") == restarts + 1
    given_up = only(events, "given_up").error
    assert isinstance(given_up, HelperError)
    assert failed.value.result is not None
    assert failed.value.result == given_up.result
    with pytest.raises(HelperError, match="status 7"):
        await anext(supervisor)


async def test_a_program_that_cannot_be_started(transport: Any) -> None:
    """Its losses have an error, no process, and an end."""
    helper = make(transport, ["/none"])
    events: list[SupervisorEvent] = []
    with pytest.raises(HelperError, match="/none"):
        async with Supervisor(
            helper, restarts=2, backoff=NO_PAUSE, on_event=events.append
        ) as supervisor:
            async for _ in supervisor:
                pytest.fail("nothing has connected")
    check_story(events)
    losses = [event for event in events if event.kind == "lost"]
    assert [one.reason for one in losses] == ["not_connected"] * 3
    assert all(one.result is None and one.pid is None for one in losses)


async def test_a_program_that_dies_before_it_connects(transport: Any) -> None:
    """Its losses say how it ended."""
    with pytest.raises(HelperError, match="status 3") as failed:
        await supervise(make(transport, DIES), restarts=1)
    assert failed.value.result is not None
    assert failed.value.result.status == 3


async def test_break_leaves_the_helper_running(transport: Any) -> None:
    """It is the end of the block that stops it."""
    helper = make(transport, BEHAVES)
    events: list[SupervisorEvent] = []
    async with Supervisor(helper, on_event=events.append) as supervisor:
        async for _ in supervisor:
            break
        assert helper.channel.connected
        assert helper.process.returncode is None
    assert helper.process.returncode == 0
    check_story(events)
    assert kinds(events) == ["starting", "connected", "stopped"]
    assert events[-1].result is not None


async def test_a_body_that_raises(transport: Any) -> None:
    """Its exception is what comes out of the block, and the helper is stopped."""
    helper = make(transport, BEHAVES)
    with pytest.raises(ZeroDivisionError):
        async with Supervisor(helper) as supervisor:
            async for _ in supervisor:
                1 / 0  # noqa: B018
    assert helper.process.returncode == 0


async def test_going_on_replaces_a_helper_that_is_well(transport: Any) -> None:
    """The next iteration is that of another process."""
    helper = make(transport, BEHAVES)
    events: list[SupervisorEvent] = []
    pids = []
    async with Supervisor(helper, backoff=NO_PAUSE, on_event=events.append) as supervisor:
        async for _ in supervisor:
            pids.append(helper.process.pid)
            if len(pids) == 2:
                break
    check_story(events)
    assert pids[0] != pids[1]
    lost = only(events, "lost")
    assert (lost.reason, lost.pid) == ("replaced", pids[0])
    assert lost.result is not None
    assert lost.result.status == 0


async def test_a_crash_is_no_replacement(transport: Any) -> None:
    """A helper that a signal has ended was not replaced, even if that was not noticed yet."""
    helper = make(transport, BEHAVES)
    events: list[SupervisorEvent] = []
    async with Supervisor(
        helper, restarts=None, backoff=NO_PAUSE, on_event=events.append
    ) as supervisor:
        async for _ in supervisor:
            if events[-1].attempt == 20:
                break
            os.kill(helper.process.pid, signal.SIGKILL)
    check_story(events)
    losses = [event for event in events if event.kind == "lost"]
    assert [one.reason for one in losses] == ["ended"] * 19
    assert {one.result.signal for one in losses if one.result} == {"SIGKILL"}


async def test_a_session_that_the_body_ends(transport: Any) -> None:
    """It is a loss like any other: to leave, there is ``break``."""
    helper = make(transport, BEHAVES)
    events: list[SupervisorEvent] = []
    async with Supervisor(helper, backoff=NO_PAUSE, on_event=events.append) as supervisor:
        async for channel in supervisor:
            if events[-1].attempt == 2:
                break
            await channel.disconnect()
    lost = only(events, "lost")
    assert (lost.reason, lost.end_reason) == ("ended", EndReason.LOCAL)


async def test_a_channel_that_the_body_closes(transport: Any) -> None:
    """The helper cannot be started again, and the loop says why."""
    events: list[SupervisorEvent] = []
    with pytest.raises(ChannelClosedError):
        async with Supervisor(
            make(transport, BEHAVES), backoff=NO_PAUSE, on_event=events.append
        ) as supervisor:
            async for channel in supervisor:
                await channel.close()
    check_story(events)
    assert events[-1].kind == "given_up"
