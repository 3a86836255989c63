"""The events of a supervisor, as its callback and its iterators get them."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from pathlib import Path
from typing import Any

import pytest

from helper_programs import BEHAVES, connected
from ipc_channel import EndReason, Helper, Supervisor, SupervisorEvent, make_ipc_channel
from supervising import MET, NO_PAUSE, at_first, check_story, only, read_all, supervise
from waiting import until_blocked


async def lives(supervisor: Supervisor, count: int) -> None:
    """Let the helper be killed in each of its lives but the last."""
    async for channel in supervisor:
        count -= 1
        if not count:
            break
        supervisor.helper.process.kill()
        await read_all(channel)


async def collected(supervisor: Supervisor, turns: int = 0) -> list[SupervisorEvent]:
    """Return all events, ``turns`` iterations of the loop after each."""
    found = []
    async for event in supervisor.events():
        found.append(event)
        for _ in range(turns):
            await asyncio.sleep(0)
    return found


async def test_each_iterator_gets_every_event_once_and_in_order() -> None:
    """A slow one does so too."""
    events: list[SupervisorEvent] = []
    async with Supervisor(
        Helper(BEHAVES), backoff=NO_PAUSE, on_event=events.append
    ) as supervisor:
        tasks = [asyncio.create_task(collected(supervisor, turns)) for turns in (0, 1, 100)]
        late = supervisor.events()
        await lives(supervisor, 4)
    for task in tasks:
        assert await task == events
    assert [event async for event in late] == events
    check_story(events)
    assert [event.kind for event in events].count("lost") == 3


async def test_an_iterator_begins_with_the_present_life() -> None:
    """So one that comes late knows what there is now, and a task misses no start."""
    async with Supervisor(Helper(BEHAVES), backoff=NO_PAUSE) as supervisor:
        await lives(supervisor, 3)
        iterator = supervisor.events()
        assert [(await anext(iterator)).kind for _ in range(2)] == ["starting", "connected"]
        waiting = asyncio.create_task(iterator.__anext__())
        await asyncio.sleep(0)
    assert (await waiting).kind == "stopped"
    with pytest.raises(StopAsyncIteration):
        await anext(iterator)
    again = [event.kind async for event in supervisor.events()]
    assert again == ["starting", "connected", "stopped"]


async def test_an_iterator_that_is_cancelled_misses_nothing() -> None:
    """Its next call yields what came meanwhile."""
    async with Supervisor(Helper(BEHAVES), backoff=NO_PAUSE) as supervisor:
        iterator = supervisor.events()
        waiting = asyncio.create_task(iterator.__anext__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await lives(supervisor, 2)
    kinds = [event.kind async for event in iterator]
    assert kinds[:4] == ["starting", "connected", "lost", "restarting"]
    assert kinds[-1] == "stopped"


async def test_events_that_no_iterator_holds_are_freed() -> None:
    """An iterator that is abandoned, in its loop or by a break, keeps nothing."""
    seen: list[weakref.ref[SupervisorEvent]] = []
    async with Supervisor(
        Helper(BEHAVES),
        restarts=None,
        backoff=NO_PAUSE,
        on_event=lambda event: seen.append(weakref.ref(event)),
    ) as supervisor:
        iterator = supervisor.events()
        await lives(supervisor, 4)
        async for _ in supervisor.events():
            break
        kept = [one for one in seen if one() is not None]
        assert len(kept) == len(seen) > 12
        del iterator
        gc.collect()
        kept = [one for one in seen if one() is not None]
        assert len(kept) == 2


async def test_a_callback_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and the helper is started again all the same."""

    def fail(event: SupervisorEvent) -> None:
        raise KeyError(event.kind)

    async with Supervisor(Helper(BEHAVES), backoff=NO_PAUSE, on_event=fail) as supervisor:
        await lives(supervisor, 2)
        assert supervisor.helper.channel.connected
    errors = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 7
    assert all(one.name == "ipc_channel.helper" and one.exc_info for one in errors)


async def test_a_loss_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A service that looks at no event still shows that its helper was lost."""
    async with Supervisor(Helper(BEHAVES), backoff=NO_PAUSE) as supervisor:
        await lives(supervisor, 2)
    (warning,) = (one for one in caplog.records if one.levelno >= logging.WARNING)
    assert "was lost: it was killed by SIGKILL" in warning.message


async def test_messages_that_were_not_read_are_counted(
    transport: Any, tmp_path: Path
) -> None:
    """Those of a body that leaves early are dropped, and the event says how many."""
    bad = "os.write(w, b'\\0\\0\\0\\1x' * 5); sys.exit(3)"
    command = at_first(tmp_path / "flag", bad)
    events: list[SupervisorEvent] = []
    async with Supervisor(
        Helper(command, make_ipc_channel(transport=transport)),
        backoff=NO_PAUSE,
        on_event=events.append,
    ) as supervisor:
        async for channel in supervisor:
            await channel.write(b"go")
            if events[-1].attempt == 2:
                break
            assert await channel.read() == b"x"
            await supervisor.helper.process.wait()
    lost = only(events, "lost")
    assert lost.unread == 4
    assert "4 messages of it were not read" in str(lost)
    assert lost.end_reason in {EndReason.EOF, None}


async def test_output_that_was_not_sent_is_counted(transport: Any) -> None:
    """It had been accepted by writes, of which the last one raises."""
    events: list[SupervisorEvent] = []
    helper = Helper(
        connected("while True: os.read(r, 1); import time; time.sleep(1000)"),
        make_ipc_channel(transport=transport),
    )
    size = 400_000
    async with Supervisor(helper, backoff=NO_PAUSE, on_event=events.append) as supervisor:
        async for channel in supervisor:
            if events[-1].attempt == 2:
                break
            writes = [asyncio.create_task(channel.write(bytes(size))) for _ in range(20)]
            await until_blocked(channel)
            helper.process.kill()
            results = await asyncio.gather(*writes, return_exceptions=True)
            failed = [one for one in results if isinstance(one, ConnectionError)]
            assert failed
    lost = only(events, "lost")
    assert lost.unsent is not None
    assert 0 < lost.unsent <= size + 4 + 2**16
    assert "bytes for it were not sent" in str(lost)


async def test_a_clean_end_has_left_nothing(transport: Any, tmp_path: Path) -> None:
    """Neither the close frame nor a message that was sent counts as unsent."""
    helper = Helper(
        at_first(tmp_path / "flag", "sys.exit(3)"), make_ipc_channel(transport=transport)
    )
    _, events = await supervise(helper)
    for event in (only(events, "lost"), only(events, "finished")):
        assert (event.unread, event.unsent) == (0, 0)


async def test_the_reason_for_a_missing_program_is_no_process() -> None:
    """A start that fails after others does not name the process of the one before."""
    events: list[SupervisorEvent] = []
    helper = Helper(connected(f"{MET}; sys.exit(3)"))
    with pytest.raises(Exception, match="/none"):
        async with Supervisor(
            helper, restarts=1, backoff=NO_PAUSE, on_event=events.append
        ) as supervisor:
            async for channel in supervisor:
                helper._command.words[0] = "/none"
                await read_all(channel)
    check_story(events)
    losses = [event for event in events if event.kind == "lost"]
    assert [one.reason for one in losses] == ["ended", "not_connected"]
    assert losses[1].pid is None
    assert losses[1].result is None
