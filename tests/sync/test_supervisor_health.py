"""Health checks and pings in programs without asyncio."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ipc_channel import SupervisorEvent
from ipc_channel.sync import Helper, IPCChannel, Supervisor, make_ipc_channel
from library_helpers import ECHO
from raw import PATIENCE
from supervising import NO_PAUSE, at_first, check_story, only
from supervising_blocking import read_all, supervise

HANGS = "import time; time.sleep(1000)"


def test_a_helper_that_answers_no_ping(transport: Any, tmp_path: Path) -> None:
    """It is ended while the body waits in a read, and the next one is started."""
    helper = Helper(
        at_first(tmp_path / "flag", HANGS), make_ipc_channel(transport=transport)
    )
    lives, events = supervise(helper, ping=b"ping", every=0.05, health_timeout=0.1)
    assert lives == [[], [b"well"]]
    assert only(events, "lost").reason == "unhealthy"


def test_an_answer_that_waited_in_the_kernel_is_one() -> None:
    """Between calls nothing runs: a body that was elsewhere finds its helper well."""
    with Supervisor(
        Helper(ECHO), ping=b"ping", every=0.02, health_timeout=0.3
    ) as supervisor:
        for channel in supervisor:
            for _ in range(3):
                assert channel.read() == b"ping"
                threading.Event().wait(0.5)  # long enough for any deadline
            assert channel.connected
            break


@pytest.mark.parametrize("way", ["raises", "denies", "hangs"])
def test_a_check_that_fails(tmp_path: Path, way: str) -> None:
    """It runs in a thread, gets the blocking channel, and may take too long."""
    done = threading.Event()
    threads: set[threading.Thread] = set()

    def health(channel: IPCChannel) -> bool:
        threads.add(threading.current_thread())
        channel.write(b"checked")
        if way == "raises":
            raise KeyError("it is ill")
        if way == "hangs":
            done.wait(PATIENCE)
        return False

    helper = Helper(at_first(tmp_path / "flag", HANGS))
    events: list[SupervisorEvent] = []
    try:
        with Supervisor(
            helper,
            health=health,
            every=0.05,
            health_timeout=0.2 if way == "hangs" else PATIENCE,
            backoff=NO_PAUSE,
            on_event=events.append,
        ) as supervisor:
            for channel in supervisor:
                if events[-1].attempt == 2:
                    break
                read_all(channel)
    finally:
        done.set()
        for thread in threads:
            thread.join(PATIENCE)
    check_story(events)
    lost = only(events, "lost")
    assert lost.reason == "unhealthy"
    text = {"raises": "it is ill", "denies": "returned False", "hangs": "more than 0.2 s"}
    assert text[way] in str(lost.error)
    assert threading.main_thread() not in threads
