"""The places of a pool: as many as its size, from the beginning of its block to its end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from ipc_channel.errors import HelperError, WrongLoopError
from ipc_channel.pool.balancer import Balancer
from ipc_channel.pool.makers import Maker
from ipc_channel.pool.place import Place


class Places:
    """Starts, retires and stops places; ``make_place`` gets a maker of helpers, in turn."""

    def __init__(
        self,
        makers: Sequence[Maker],
        size: int,
        make_place: Callable[[Maker, Callable[[], None]], Place],
    ) -> None:
        self.size = size
        self.balancer = Balancer(self.end)
        self._makers = itertools.cycle(makers)
        self._make_place = make_place
        self._retired: set[Place] = set()
        self._is_open = self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> HelperError | None:
        """Return why no call is possible any more, or None."""
        if self._is_stopped:
            return HelperError("the pool was stopped: make a new one")
        if not self._is_open:
            return HelperError("the pool is not open: write 'async with' around its use")
        places = self.balancer.places
        if any(place.is_open for place in places):
            return None
        errors = [place.error for place in places if place.error is not None]
        if not errors:  # the event loop ends
            return HelperError("no helper of the pool is left: its tasks were cancelled")
        failure = HelperError(f"no helper of the pool is left: {errors[-1]}")
        failure.__cause__ = errors[-1]
        failure.result = errors[-1].result
        return failure

    def open(self) -> None:
        """Start a helper at each place."""
        if self._is_open or self._is_stopped:
            raise HelperError("the pool was entered already: make a new one")
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._fill()

    def check_loop(self) -> None:
        """Raise WrongLoopError if the pool was entered in a loop other than the running one."""
        if self._loop not in (None, asyncio.get_running_loop()):
            raise WrongLoopError(
                "the pool was entered in an event loop other than the running one: use it in"
                " that one, or ipc_channel.sync.HelperPool, which any thread may use"
            )

    async def resize(self, size: int) -> None:
        """Have another number of places; wait until those that are too many have ended."""
        if (error := self.end()) is not None:
            raise error
        self.size = size
        left = self._surplus()
        for place in left:
            self.balancer.places.remove(place)
        self._retired.update(left)
        self._fill()
        self.balancer.wake()  # calls may have waited for a place that is gone
        try:
            await _run_all(place.leave() for place in left)
        finally:
            self._retired = {place for place in self._retired if not place.is_stopped}

    async def stop(self) -> None:
        """End all helpers; calls that they have, and calls that wait, fail."""
        self._is_stopped = True
        places = {*self.balancer.places, *self._retired}
        self.balancer.wake()
        await _run_all(place.stop() for place in places)

    def _surplus(self) -> list[Place]:
        """Return the places that are too many: first those that stay empty, then the last."""
        places = self.balancer.places
        order = [place for place in places if place.is_open]
        order += [place for place in places if not place.is_open]
        return order[self.size :]

    def _fill(self) -> None:
        while len(self.balancer.places) < self.size:
            place = self._make_place(next(self._makers), self.balancer.wake)
            self.balancer.places.append(place)


async def _run_all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all to their ends. If cancelled, cancel each, but only once it has begun."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        if tasks:
            await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()  # those that are not done have run up to where they wait
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        task.result()
