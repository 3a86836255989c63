"""Supervised helpers of programs without asyncio."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from blocking import Call, driver_of, eventually, until_waiting
from descriptors import open_descriptors
from flood import Interrupt
from forks import in_child
from helper_programs import BEHAVES, DIES, SLEEPS, connected
from ipc_channel import HelperError, SupervisorEvent, WrongProcessError
from ipc_channel.sync import (
    Helper,
    IPCChannel,
    Supervisor,
    make_ipc_channel,
)
from process_tree import children
from raw import PATIENCE
from supervising import MET, NO_PAUSE, WELL, at_first, check_story, only
from supervising_blocking import read_all, supervise

HANGS = "import time; time.sleep(1000)"


def kinds(events: list[SupervisorEvent]) -> list[str]:
    return [event.kind for event in events]


def test_a_loss_is_told_and_mended(transport: Any, tmp_path: Path) -> None:
    """The next helper has the same channel, and finishes."""
    before = open_descriptors()
    command = at_first(tmp_path / "flag", "os.kill(os.getpid(), 9)")
    lives, events = supervise(Helper(command, make_ipc_channel(transport=transport)))
    assert lives == [[], [b"well"]]
    lost = only(events, "lost")
    assert lost.result is not None
    assert lost.result.signal == "SIGKILL"
    assert kinds(events)[-1] == "finished"
    assert open_descriptors() == before
    assert children() == []


def test_too_many_losses() -> None:
    """The loop raises what the last helper died of."""
    helper = Helper(DIES)
    events: list[SupervisorEvent] = []
    with (
        pytest.raises(HelperError, match="status 3") as failed,
        Supervisor(
            helper, restarts=2, backoff=NO_PAUSE, on_event=events.append
        ) as supervisor,
    ):
        list(supervisor)
    check_story(events)
    assert kinds(events).count("lost") == 3
    assert failed.value.result is not None
    assert failed.value.result.status == 3


def test_always(transport: Any) -> None:
    """A helper that has finished is started again."""
    lives = []
    with Supervisor(
        Helper(connected(WELL), make_ipc_channel(transport=transport)),
        when="always",
        backoff=NO_PAUSE,
    ) as supervisor:
        for channel in supervisor:
            lives.append(read_all(channel))
            if len(lives) == 3:
                break
    assert lives == [[b"well"]] * 3


def test_break_and_the_end_of_the_block() -> None:
    """The end of the block stops the helper and frees the loop."""
    before = open_descriptors()
    helper = Helper(BEHAVES)
    events: list[SupervisorEvent] = []
    with Supervisor(helper, on_event=events.append) as supervisor:
        for _ in supervisor:
            break
        assert helper.channel.connected
        assert supervisor.helper is helper
        assert "pid" in repr(supervisor)
    assert kinds(events) == ["starting", "connected", "stopped"]
    assert helper.process.returncode == 0
    assert supervisor.stop() == 0
    with pytest.raises(StopIteration):
        next(supervisor)
    assert open_descriptors() == before


def test_a_loop_without_a_block_is_refused() -> None:
    """Nothing would stop the helper after a ``break``."""
    supervisor = Supervisor(Helper(BEHAVES))
    with pytest.raises(HelperError, match="was not entered"):
        next(supervisor)
    supervisor.stop()


def test_only_a_blocking_helper_is_supervised() -> None:
    """Anything else is refused, with what to pass."""
    command: Any = BEHAVES
    with pytest.raises(TypeError, match="blocking Helper, not list"):
        Supervisor(command)


def test_events_in_another_thread() -> None:
    """Each iterator blocks until there is an event, and ends with the last."""
    events: list[SupervisorEvent] = []
    supervisor = Supervisor(Helper(BEHAVES), backoff=NO_PAUSE, on_event=events.append)
    with supervisor:
        told: list[Call[list[SupervisorEvent]]] = [
            Call(list, supervisor.events()) for _ in range(3)
        ]
        for channel in supervisor:
            if events[-1].attempt == 4:
                break
            supervisor.helper.process.kill()
            read_all(channel)
    for call in told:
        assert call.result() == events
    assert [event.kind for event in supervisor.events()] == kinds(events)[-3:]


def test_stop_from_another_thread() -> None:
    """Reads end, and so does the loop."""
    events: list[SupervisorEvent] = []
    with Supervisor(Helper(BEHAVES), on_event=events.append) as supervisor:
        for channel in supervisor:
            reading = Call(channel.read)
            until_waiting(channel)
            stops = [Call(supervisor.stop) for _ in range(4)]
            assert reading.result() is None
        assert [one.result() for one in stops] == [0] * 4
    check_story(events)
    assert kinds(events) == ["starting", "connected", "stopped"]


@pytest.mark.parametrize("command", [DIES, SLEEPS], ids=["a pause", "a start"])
def test_stop_ends(command: list[str]) -> None:
    """The loop in the other thread does not wait for the rest of it."""
    helper = Helper(command, timeout=PATIENCE)
    events: list[SupervisorEvent] = []
    with Supervisor(helper, backoff=(10**9, 10**9), on_event=events.append) as supervisor:
        looping: Call[list[IPCChannel]] = Call(list, supervisor)
        last = "restarting" if command == DIES else "starting"
        eventually(lambda: bool(events) and events[-1].kind == last)
        supervisor.stop()
        assert looping.result() == []
    check_story(events)
    assert events[-1].kind == "stopped"
    assert children() == []


@pytest.mark.parametrize("command", [DIES, SLEEPS, BEHAVES], ids=["pause", "start", "body"])
def test_an_interrupt_leaves_no_process(command: list[str]) -> None:
    """The block ends what there is, and the events are a story."""
    events: list[SupervisorEvent] = []
    before = open_descriptors()
    helper = Helper(command, timeout=PATIENCE)

    def handle(*_: object) -> None:
        if driver_of(helper.channel).loop.busy:  # in a step, where it could do any harm
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        else:
            raise Interrupt

    previous = signal.signal(signal.SIGALRM, handle)
    wanted = {id(DIES): "restarting", id(SLEEPS): "starting"}.get(id(command), "connected")

    def interrupt() -> None:
        eventually(lambda: bool(events) and events[-1].kind == wanted)
        until_waiting(helper.channel)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    interrupting = Call(interrupt)
    try:
        with (
            pytest.raises(Interrupt),
            Supervisor(
                helper, backoff=(10**9, 10**9), on_event=events.append
            ) as supervisor,
        ):
            for channel in supervisor:
                channel.read()
    finally:
        interrupting.result()
        signal.signal(signal.SIGALRM, previous)
    check_story(events)
    assert events[-1].kind == "stopped"
    assert children() == []
    assert open_descriptors() == before


def test_in_a_forked_child() -> None:
    """The child may leave the block, and do nothing else."""
    with Supervisor(Helper(BEHAVES)) as supervisor:
        for channel in supervisor:

            def work() -> None:
                for use in (supervisor.stop, supervisor.__next__, supervisor.__enter__):
                    with pytest.raises(WrongProcessError):
                        use()
                supervisor.__exit__(None, None, None)

            in_child(work)
            assert channel.connected
            break


def test_a_daemon_that_keeps_the_channel(transport: Any, tmp_path: Path) -> None:
    """A read that waits for a dead helper comes to an end."""
    bad = (
        "r2, w2 = os.pipe()\n"
        "if os.fork():\n    os.read(r2, 1)\n    os._exit(0)\n"
        "os.setsid()\nos.write(w2, b'.')\nwhile os.read(r, 1): pass\nos._exit(0)"
    )
    helper = Helper(
        at_first(tmp_path / "flag", bad), make_ipc_channel(transport=transport), grace=0.2
    )
    lives, events = supervise(helper)
    assert lives == [[], [b"well"]]
    assert only(events, "lost").reason == "held_open"


def test_a_helper_that_is_killed_at_once_is_not_replaced() -> None:
    """A body that leaves before anyone has noticed the end is told of the signal."""
    events: list[SupervisorEvent] = []
    with Supervisor(
        Helper(connected(f"{MET}; {HANGS}")),
        restarts=None,
        backoff=NO_PAUSE,
        on_event=events.append,
    ) as supervisor:
        for _ in supervisor:
            if events[-1].attempt == 10:
                break
            os.kill(supervisor.helper.process.pid, signal.SIGKILL)
    check_story(events)
    losses = [event for event in events if event.kind == "lost"]
    assert {one.reason for one in losses} == {"ended"}
