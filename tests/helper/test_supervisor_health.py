"""Health checks and pings: what is taken for a helper that hangs, and what is not."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from helper_programs import BEHAVES, IGNORES, connected
from ipc_channel import Helper, IPCChannel, Supervisor, SupervisorEvent, make_ipc_channel
from library_helpers import ECHO
from process_tree import children
from raw import PATIENCE
from supervising import NO_PAUSE, WELL, at_first, check_story, only, read_all, supervise

HANGS = "import time; time.sleep(1000)"
STOPS = "os.kill(os.getpid(), 19)"
DEAF = "import _signal, time; _signal.signal(15, _signal.SIG_IGN); time.sleep(1000)"
SHORT: dict[str, Any] = {"every": 0.05, "health_timeout": 0.1}


def make(transport: Any, command: list[str], **options: Any) -> Helper:
    return Helper(command, make_ipc_channel(transport=transport), **options)


@pytest.mark.parametrize(
    ("bad", "ended_by"),
    [(HANGS, "SIGTERM"), (STOPS, "SIGKILL"), (DEAF, "SIGKILL")],
    ids=["hangs", "is stopped by a signal", "ignores SIGTERM"],
)
async def test_a_helper_that_answers_no_ping(
    transport: Any, tmp_path: Path, bad: str, ended_by: str
) -> None:
    """It is ended in the usual steps, and the next one is started."""
    helper = make(transport, at_first(tmp_path / "flag", bad), grace=0.2)
    lives, events = await supervise(helper, ping=b"ping", **SHORT)
    assert lives == [[], [b"well"]]
    lost = only(events, "lost")
    assert lost.reason == "unhealthy"
    assert "nothing came from it within 0.1 s of a ping" in str(lost.error)
    assert str(lost.error) in str(lost)
    assert lost.result is not None
    assert lost.result.signal == ended_by
    assert children() == []


async def test_a_helper_that_answers(transport: Any) -> None:
    """The application reads the answers, and the helper lives on."""
    helper = make(transport, ECHO)
    async with Supervisor(helper, ping=b"ping", every=0.01) as supervisor:
        async for channel in supervisor:
            assert [await channel.read() for _ in range(10)] == [b"ping"] * 10
            break
        assert helper.process.returncode is None


async def test_a_service_that_does_not_read_hears_no_answer(
    transport: Any, tmp_path: Path
) -> None:
    """So it takes no helper for hung whose messages wait in the kernel."""
    bad = f"for _ in range(20): os.write(w, b'\\0\\x10\\0\\0' + bytes(2**20))\n{HANGS}"
    helper = make(transport, at_first(tmp_path / "flag", bad))
    async with Supervisor(
        helper, ping=b"ping", every=0.02, health_timeout=0.02, backoff=NO_PAUSE
    ) as supervisor:
        async for channel in supervisor:
            await channel.write(b"go")
            assert await channel.read() == bytes(2**20)
            await asyncio.sleep(0.3)  # many checks, in which nothing is to happen
            assert helper.process.returncode is None
            assert channel.connected
            break


async def test_messages_that_wait_to_be_read_are_no_answer(
    transport: Any, tmp_path: Path
) -> None:
    """They have come before the ping, and keep nothing from coming."""
    bad = f"os.write(w, b'\\0\\0\\0\\1x' * 20)\n{HANGS}"
    helper = make(transport, at_first(tmp_path / "flag", bad))
    async with Supervisor(helper, ping=b"ping", backoff=NO_PAUSE, **SHORT) as supervisor:
        channel = await anext(supervisor)
        await channel.write(b"go")
        assert await helper.process.wait() == -signal.SIGTERM
        assert (await read_all(channel))[:20] == [b"x"] * 20


async def test_a_loop_that_was_blocked_takes_the_helper_for_hung(transport: Any) -> None:
    """It does not: the answer has come meanwhile, and is looked for first."""
    events: list[SupervisorEvent] = []
    async with Supervisor(
        make(transport, ECHO),
        ping=b"ping",
        every=0.02,
        health_timeout=0.3,
        on_event=events.append,
    ) as supervisor:
        async for channel in supervisor:
            for _ in range(3):
                assert await channel.read() == b"ping"
                time.sleep(0.5)  # noqa: ASYNC251  # nothing runs in the loop
            break
        assert supervisor.helper.channel.connected
    assert [event.kind for event in events] == ["starting", "connected", "stopped"]


async def raises(channel: IPCChannel) -> None:
    raise KeyError("it is ill")


async def denies(channel: IPCChannel) -> bool:
    return False


async def hangs(channel: IPCChannel) -> None:
    await asyncio.sleep(PATIENCE)


async def ignores_cancellation(channel: IPCChannel) -> None:
    try:
        await asyncio.sleep(PATIENCE)
    except asyncio.CancelledError:
        await asyncio.sleep(0.05)
        raise ValueError("too late") from None


def plain(channel: IPCChannel) -> bool:
    return False


async def cancels(channel: IPCChannel) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("health", "text"),
    [
        (raises, "it is ill"),
        (denies, "returned False"),
        (plain, "returned False"),
        (hangs, "took more than 0.1 s"),
        (ignores_cancellation, "took more than 0.1 s"),
        (cancels, "was cancelled"),
    ],
)
async def test_a_check_that_fails(health: Any, text: str, tmp_path: Path) -> None:
    """The helper is ended, and the event says what was wrong with it."""
    helper = Helper(at_first(tmp_path / "flag", HANGS), grace=PATIENCE)
    events: list[SupervisorEvent] = []
    async with Supervisor(
        helper, health=health, backoff=NO_PAUSE, on_event=events.append, **SHORT
    ) as supervisor:
        async for channel in supervisor:
            if events[-1].attempt == 2:
                break
            assert await read_all(channel) == []
    check_story(events)
    lost = only(events, "lost")
    assert lost.reason == "unhealthy"
    assert text in str(lost.error)
    assert lost.result is not None
    assert lost.result.status == -signal.SIGTERM


async def test_checks_that_pass() -> None:
    """Anything but False will do, and the check gets the channel."""
    checked: list[IPCChannel] = []
    enough = asyncio.Event()

    async def health(channel: IPCChannel) -> int:
        assert channel.connected
        checked.append(channel)
        if len(checked) == 5:
            enough.set()
        return 0

    helper = Helper(BEHAVES)
    async with Supervisor(helper, health=health, every=0.01) as supervisor:
        async for channel in supervisor:
            await enough.wait()
            assert channel.connected
            break
    assert set(checked) == {helper.channel}


async def test_the_check_of_a_helper_that_has_died() -> None:
    """It fails because of the end, which is what is told."""
    died = asyncio.Event()
    events: list[SupervisorEvent] = []

    async def health(channel: IPCChannel) -> bool:
        helper.process.kill()
        await read_all(channel)
        died.set()
        return False

    helper = Helper(BEHAVES)
    async with Supervisor(
        helper, health=health, every=0.01, backoff=NO_PAUSE, on_event=events.append
    ) as supervisor:
        async for _ in supervisor:
            if events[-1].attempt == 3:
                break
            died.clear()
            await died.wait()
    check_story(events)
    losses = [event for event in events if event.kind == "lost"]
    assert [one.reason for one in losses] == ["ended"] * 2


async def test_the_check_of_a_helper_that_is_finishing(
    transport: Any, tmp_path: Path
) -> None:
    """Once it has closed its channel, a check that fails does not end it early."""
    events: list[SupervisorEvent] = []
    begun, checked = asyncio.Event(), asyncio.Event()

    async def health(channel: IPCChannel) -> bool:
        begun.set()
        while channel.connected:
            await asyncio.sleep(0.001)
        checked.set()
        return False

    helper = make(transport, at_first(tmp_path / "flag", WELL), grace=PATIENCE)
    async with Supervisor(
        helper, health=health, every=0.01, on_event=events.append
    ) as supervisor:
        async for channel in supervisor:
            await begun.wait()
            await channel.write(b"go")
            await checked.wait()
            await asyncio.sleep(0.05)  # for what must not happen
            assert helper.process.returncode is None
    check_story(events)
    assert [event.kind for event in events] == ["starting", "connected", "finished"]


async def test_a_stop_while_an_unhealthy_helper_is_ended() -> None:
    """The loss has been found by then, so it is told."""
    events: list[SupervisorEvent] = []
    helper = Helper(IGNORES, grace=0.2)
    async with Supervisor(
        helper, health=denies, every=0.01, on_event=events.append
    ) as supervisor:
        channel = await anext(supervisor)
        assert await channel.read() == b"deaf"
        while not (supervisor._life and supervisor._life.error):
            await asyncio.sleep(0.001)
    check_story(events)
    assert [event.kind for event in events] == ["starting", "connected", "lost", "stopped"]
    assert only(events, "lost").reason == "unhealthy"
    assert children() == []


async def test_a_body_that_is_not_in_the_channel(transport: Any) -> None:
    """A check ends the helper all the same, and the body finds that when it looks."""
    helper = make(transport, connected(HANGS), grace=PATIENCE)
    async with Supervisor(
        helper, ping=b"ping", restarts=0, backoff=NO_PAUSE, **SHORT
    ) as supervisor:
        channel = await anext(supervisor)
        assert await helper.process.wait() == -signal.SIGTERM
        assert await read_all(channel) == []
