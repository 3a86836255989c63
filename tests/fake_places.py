"""Places of a pool without helpers, and a balancer of them: all happens when a test says."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from ipc_channel import HelperError, IPCChannelError
from ipc_channel.pool.balancer import Balancer


class FakePlace:
    """Is what a Place is for a balancer, for calls and for places; it is its own requests.

    Each call takes the next of the ``outcomes``: an exception, or an answer.
    """

    def __init__(self, room: int = 1, *outcomes: bytes | Exception) -> None:
        self.room = room
        self.outcomes = deque(outcomes)
        self.in_flight = self.turn = self.answered = 0
        self.is_open = True
        self.helper_name = "fake"
        self.error: HelperError | None = None
        self.forgotten: list[IPCChannelError] = []
        self.left = self.killed = False
        self.ended = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return self.in_flight < self.room

    @property
    def load(self) -> int:
        return self.in_flight

    @property
    def is_stopped(self) -> bool:
        return self.ended.is_set()

    def take(self, turn: int) -> FakePlace:
        self.turn = turn
        self.in_flight += 1
        return self

    def give_back(self, requests: FakePlace, *, answered: bool) -> None:
        assert requests is self
        self.in_flight -= 1
        self.answered += answered

    def forget(self, requests: FakePlace, error: IPCChannelError) -> None:
        assert requests is self
        self.forgotten.append(error)

    async def call(self, _payload: bytes, _timeout: float | None) -> bytes:
        outcome = self.outcomes.popleft()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def leave(self) -> None:
        """As a Place with calls does: end at some time, also if nobody waits for it."""
        self.left = True
        await self.ended.wait()

    async def stop(self) -> None:
        """As a Place does: if this is cancelled, kill the helper."""
        try:
            await self.ended.wait()
        except asyncio.CancelledError:
            self.killed = True
            self.ended.set()
            raise


class Ends:
    """A balancer of such places, and whether there is an end of calls."""

    def __init__(self, *places: FakePlace) -> None:
        self.end: HelperError | None = None
        self.balancer = Balancer(lambda: self.end)
        added: list[Any] = list(places)
        self.balancer.places += added


async def turns(count: int = 5) -> None:
    """Let the other tasks run until they wait."""
    for _ in range(count):
        await asyncio.sleep(0)
