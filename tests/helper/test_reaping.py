"""Processes that are reaped later, after an interrupt, or by two at once."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from helper_programs import SLEEPS
from ipc_channel.helper import child
from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.helper.posix_process import PosixChild
from process_tree import children
from raw import PATIENCE


def start_sleeping() -> HelperProcess:
    return Command(SLEEPS, env=None, cwd=None, process_group=True).start({})


def test_looking_goes_on_after_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupt(KeyboardInterrupt):
        pass

    def poll(one: PosixChild) -> int | None:
        looks.append(one.pid)
        if len(looks) == 3:  # by the timer
            raise Interrupt
        return real(one)

    looks: list[int] = []
    real = PosixChild.poll
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(PosixChild, "poll", poll)
    sleeping, loop = start_sleeping(), asyncio.new_event_loop()
    looks.clear()
    waiting = loop.create_task(sleeping.wait())
    with pytest.raises(Interrupt):
        loop.run_until_complete(waiting)
    sleeping.kill()
    assert loop.run_until_complete(asyncio.wait_for(waiting, PATIENCE)) == -signal.SIGKILL
    loop.close()


def test_a_process_that_was_dropped_is_reaped_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may take a while to end, for which nothing waits."""
    child.reap_abandoned()
    before = children()
    with monkeypatch.context() as patch:
        patch.setattr(PosixChild, "poll", lambda _: None)
        sleeping = start_sleeping()
        pid = sleeping.pid
        with pytest.warns(ResourceWarning, match=f"helper process {pid} was killed"):
            del sleeping
            gc.collect()
        child.reap_abandoned()
        assert pid in children()
    deadline = time.monotonic() + PATIENCE
    while children() != before:
        assert time.monotonic() < deadline
        child.reap_abandoned()  # as the next start does
    assert child._abandoned == []


def reap_later(begin: threading.Event) -> None:
    begin.wait()
    child.reap_abandoned()


@pytest.mark.parametrize("who", ["another thread", "the garbage collector"])
def test_two_that_reap_at_once(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread waits for the other; what the collector does comes in between."""

    def poll(one: PosixChild) -> int | None:
        entered.append(threading.get_ident())
        if len(entered) == 1 and who == "another thread":
            begin.set()
            other.join(0.1)  # it waits for us, or else it is done by then
        elif len(entered) == 1:
            child.reap_abandoned()
        return real(one)

    entered: list[int] = []
    real = PosixChild.poll
    begin = threading.Event()
    # Started already: one that starts may have to collect garbage first, for which it
    # would wait for us in vain.
    other = threading.Thread(target=reap_later, args=(begin,), daemon=True)
    child.reap_abandoned()
    sleeping = start_sleeping()
    if who == "another thread":
        other.start()
    sleeping.kill()
    os.waitid(os.P_PID, sleeping.pid, os.WEXITED | os.WNOWAIT)
    with monkeypatch.context() as patch:
        patch.setattr(child, "_abandoned", [sleeping._child])
        patch.setattr(PosixChild, "poll", poll)
        child.reap_abandoned()
        if who == "another thread":
            other.join()
        assert child._abandoned == []
    assert set(entered) == {threading.get_ident()}, "another thread has nothing to reap"


def test_threads_that_look_at_once_all_see_the_status() -> None:
    """One of them reaps the process, and closes its descriptor, while the others look."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            assert _looks_of(threads=6) == {(-signal.SIGKILL, "was killed by SIGKILL")}
    finally:
        sys.setswitchinterval(interval)


def _looks_of(threads: int) -> set[tuple[int, str]]:
    """Return what so many threads see of the end of one process."""

    def look() -> tuple[int, str]:
        while (status := process.returncode) is None:
            pass
        return status, process.ending

    process = start_sleeping()
    with ThreadPoolExecutor(threads) as pool:
        looks = [pool.submit(look) for _ in range(threads)]
        process.kill()
        found = {one.result(PATIENCE) for one in looks}
    asyncio.run(process.end(0, 0))
    return found
