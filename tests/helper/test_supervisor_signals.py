"""A supervised helper gets every signal, at random moments: no loss stays untold.

``KILLS`` says how many helpers a run kills, by default 20; 500 is the long form. What
chance decides repeats with ``SEED``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import defaultdict
from typing import Any

import pytest

from descriptors import open_descriptors
from helper_programs import connected
from ipc_channel import (
    Helper,
    IPCChannel,
    IPCChannelError,
    Supervisor,
    SupervisorEvent,
    make_ipc_channel,
)
from process_tree import children
from raw import PATIENCE
from supervising import NO_PAUSE, check_story

KILLS = int(os.environ.get("KILLS", "20"))
LONGEST_LIFE = 0.1  # seconds: a helper has connected, and answered, in about half of that
ECHO = connected("while data := os.read(r, 1 << 16): os.write(w, data)")

# Python ignores two signals once it has started, and makes an exception of SIGINT.
UNCERTAIN = {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}
HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
ALL = sorted(set(signal.valid_signals()) - {32, 33})  # which the C library keeps


async def exchange(channel: IPCChannel) -> None:
    """Have every message come back, in order, until the session ends."""
    number = 0
    try:
        while True:
            await channel.write(b"%d" % number)
            while (answer := await channel.read()) == b"ping":
                pass
            if answer is None:
                return
            assert answer == b"%d" % number
            number += 1
    except IPCChannelError:
        return


class Killer:
    """Sends each helper a random signal, and then SIGKILL if that need not end it."""

    def __init__(self, supervisor: Supervisor, seed: str) -> None:
        self.sent: dict[int, list[int]] = defaultdict(list)
        self._supervisor = supervisor
        self._rng = random.Random(seed)
        self._deck: list[int] = []

    async def run(self) -> None:
        process = None
        for _ in range(KILLS):
            while self._supervisor._process is process:
                await asyncio.sleep(0.001)
            process = self._supervisor._process
            assert process is not None
            number = self._next_signal()
            await asyncio.sleep(self._rng.uniform(0, LONGEST_LIFE))
            if process.returncode is None:
                self._send(process.pid, number)
            if number in HARMLESS | UNCERTAIN:
                await asyncio.sleep(self._rng.uniform(0, LONGEST_LIFE))
                if process.returncode is None:
                    self._send(process.pid, signal.SIGKILL)
        if process is not None:
            await process.wait()
        await self._supervisor.stop()

    def _next_signal(self) -> int:
        if not self._deck:
            self._deck = self._rng.sample(ALL, len(ALL))
        return self._deck.pop()

    def _send(self, pid: int, number: int) -> None:
        self.sent[pid].append(number)
        os.kill(pid, number)


def check_losses(events: list[SupervisorEvent], sent: dict[int, list[int]]) -> None:
    """Fail unless every loss has the cause that we know, and every kill its loss."""
    losses = [event for event in events if event.kind == "lost"]
    lost = {event.pid for event in losses}
    assert len(lost) == len(losses)
    ends = {event.pid for event in events if event.kind in ("lost", "stopped")}
    assert set(sent) <= ends
    for event in losses:
        assert event.pid is not None
        assert event.result is not None, event
        numbers = sent[event.pid]
        status = event.result.status
        if event.reason == "unhealthy":
            assert set(numbers) & STOPPING, (event, numbers)
            assert status in {-signal.SIGTERM, -signal.SIGKILL}
        elif event.reason == "not_connected" and set(numbers) & STOPPING:
            assert status in {-signal.SIGTERM, -signal.SIGKILL}
        elif signal.SIGINT not in numbers:
            assert -status in numbers, (event, numbers)


@pytest.mark.timeout(120 + 3 * KILLS)
async def test_every_signal_at_random_moments(transport: Any) -> None:
    """The service never hangs, and the events tell each loss with its true cause."""
    before = open_descriptors()
    events: list[SupervisorEvent] = []
    helper = Helper(
        ECHO,
        make_ipc_channel(transport=transport),
        timeout=3.0,
        grace=0.1,
        stderr="discard",
    )
    async with Supervisor(
        helper,
        restarts=None,
        backoff=NO_PAUSE,
        ping=b"ping",
        every=0.1,
        health_timeout=2.0,
        on_event=events.append,
    ) as supervisor:
        seed = f"{transport} {os.environ.get('SEED')}"
        killer = Killer(supervisor, seed)
        killing = asyncio.create_task(killer.run())
        async for channel in supervisor:
            await exchange(channel)
        await asyncio.wait_for(killing, PATIENCE)
    check_story(events)
    check_losses(events, killer.sent)
    assert len([event for event in events if event.kind == "lost"]) >= KILLS - 1
    assert children() == []
    assert open_descriptors() == before
