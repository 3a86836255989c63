"""Which helper of a pool gets a call, and in which order calls wait."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable

from ipc_channel.aio.request_channel import RequestChannel
from ipc_channel.aio.waiter import wake
from ipc_channel.errors import HelperError
from ipc_channel.pool.place import Place


class Balancer:
    """Gives each call to the place with the fewest, and has the others wait in their order.

    Of places that have equally many, the one gets it whose last call was given longest ago.
    ``end`` returns why no call is possible any more, or None.
    """

    def __init__(self, end: Callable[[], HelperError | None]) -> None:
        self.places: list[Place] = []
        self.in_flight = 0
        self._end = end
        self._waiting: OrderedDict[_Waiter, None] = OrderedDict()
        self._drains: list[asyncio.Future[None]] = []
        self._turns = itertools.count(1)

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether calls are possible."""
        return self._end() is None

    async def take(self, before: Place | None) -> tuple[Place, RequestChannel]:
        """Wait for a helper with room, at another place than before if there is one."""
        if (error := self._end()) is not None:
            raise error
        if not self._waiting and (place := self._pick(before)) is not None:
            return self._begin(place)
        waiter = _Waiter(before)
        self._waiting[waiter] = None
        if any(place.has_room for place in self.places):
            self.wake()  # those before it may wait for another place
        try:
            return await waiter.place
        except BaseException:
            self._give_up(waiter)
            raise

    def give_back(self, place: Place, requests: RequestChannel, *, answered: bool) -> None:
        """Count a call that is over, and let the next one begin."""
        self.in_flight -= 1
        place.give_back(requests, answered=answered)
        self.wake()

    def wake(self) -> None:
        """Give the room that there is to those who wait, or tell them the end."""
        error = self._end()
        stay: list[_Waiter] = []  # as there is room only at the place that they have left
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if waiter.place.done():
                continue  # cancelled, and not removed yet
            if error is not None:
                waiter.place.set_exception(error.copy_to_raise())
            elif (place := self._pick(waiter.before)) is not None:
                waiter.place.set_result(self._begin(place))
            else:
                stay.append(waiter)
                if not any(place.has_room for place in self.places):
                    break
        for waiter in reversed(stay):
            self._waiting[waiter] = None
            self._waiting.move_to_end(waiter, last=False)
        self._tell_drained()

    async def drain(self) -> None:
        """Wait until no call waits or is in flight."""
        while self._waiting or self.in_flight:
            self._drains.append(asyncio.get_running_loop().create_future())
            await self._drains[-1]

    def _give_up(self, waiter: _Waiter) -> None:
        """Wait no more: the call was cancelled, or there is an end."""
        self._waiting.pop(waiter, None)
        place = waiter.place
        if place.done() and not place.cancelled() and place.exception() is None:
            self.give_back(*place.result(), answered=False)  # cancelled just then
        self._tell_drained()

    def _tell_drained(self) -> None:
        if not (self._waiting or self.in_flight):
            while self._drains:
                wake(self._drains.pop())

    def _pick(self, before: Place | None) -> Place | None:
        others = [place for place in self.places if place is not before]
        if any(place.is_open for place in others):
            before = None
        candidates = [place for place in (*others, before) if place and place.has_room]
        return min(candidates, key=lambda place: (place.load, place.turn), default=None)

    def _begin(self, place: Place) -> tuple[Place, RequestChannel]:
        self.in_flight += 1
        return place, place.take(next(self._turns))


class _Waiter:
    """A call that waits for a helper with room."""

    def __init__(self, before: Place | None) -> None:
        self.before = before
        loop = asyncio.get_running_loop()
        self.place: asyncio.Future[tuple[Place, RequestChannel]] = loop.create_future()
