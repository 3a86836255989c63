"""The places of a pool: their number, which ones go, and what an end says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fake_places import FakePlace, turns
from ipc_channel import HelperError
from ipc_channel.pool.places import Places


class Fakes:
    """Places of a pool, open, and all fake places that were made for it."""

    def __init__(self, size: int, *, room: int = 1) -> None:
        self.made: list[FakePlace] = []

        def make(*_: Any) -> Any:
            self.made.append(FakePlace(room))
            return self.made[-1]

        self.places = Places([lambda: 1 / 0], size, make)  # type: ignore[list-item,return-value]
        self.places.open()

    @property
    def now(self) -> list[Any]:
        return list(self.places.balancer.places)


def resizing(places: Places, size: int) -> asyncio.Task[None]:
    return asyncio.create_task(places.resize(size))


async def test_a_smaller_size_waits_for_places_that_are_too_many() -> None:
    fakes = Fakes(3)
    resize = resizing(fakes.places, 1)
    await turns()
    assert fakes.now == fakes.made[:1]
    assert [place.left for place in fakes.made] == [False, True, True]
    fakes.made[1].ended.set()
    await turns()
    assert not resize.done()
    fakes.made[2].ended.set()
    await resize
    assert fakes.places.size == 1


async def test_places_that_stay_empty_go_first() -> None:
    fakes = Fakes(3)
    empty, *rest = fakes.made
    empty.is_open = False
    empty.ended.set()
    await fakes.places.resize(2)
    assert fakes.now == rest


async def test_a_call_waits_no_more_for_a_place_that_goes() -> None:
    """As it has left the other one, and that is the only one now."""
    fakes = Fakes(2)
    left, other = fakes.made
    other.in_flight = 1
    call: Any = asyncio.create_task(fakes.places.balancer.take(left))  # type: ignore[arg-type]
    await turns()
    assert not call.done()
    resize = resizing(fakes.places, 1)
    assert (await asyncio.wait_for(call, 10))[0] is left
    assert not resize.done()
    other.ended.set()
    await resize


async def test_calls_are_told_that_the_last_place_with_a_helper_has_gone() -> None:
    fakes = Fakes(1, room=0)
    (place,) = fakes.made
    call = asyncio.create_task(fakes.places.balancer.take(None))
    await turns()
    place.is_open, place.error = False, HelperError("too many losses")
    place.error.result = result = object()  # type: ignore[assignment]
    fakes.places.balancer.wake()
    with pytest.raises(HelperError, match="is left: too many losses") as caught:
        await call
    assert caught.value.result is result
    assert caught.value.__cause__ is place.error
    with pytest.raises(HelperError, match="too many losses"):
        await fakes.places.resize(2)
    place.error = None
    with pytest.raises(HelperError, match="its tasks were cancelled"):
        await fakes.places.balancer.take(None)


async def test_a_resize_that_is_cancelled_at_once_ends_the_places_all_the_same() -> None:
    fakes = Fakes(2)
    resize = resizing(fakes.places, 1)
    await asyncio.sleep(0)
    resize.cancel()
    await asyncio.wait({resize})
    assert resize.cancelled()
    assert [place.left for place in fakes.made] == [False, True]


async def test_a_stop_ends_places_that_a_resize_waits_for() -> None:
    """Also if the resize was cancelled."""
    fakes = Fakes(3)
    resizes = [resizing(fakes.places, size) for size in (2, 1)]
    await turns()
    resizes[0].cancel()
    await asyncio.wait({resizes[0]})
    stop = asyncio.create_task(fakes.places.stop())
    await turns()
    for place in fakes.made:
        assert not stop.done()
        place.ended.set()
        await turns()
    await stop
    await resizes[1]


async def test_a_stop_that_is_cancelled_at_once_kills_all_helpers() -> None:
    fakes = Fakes(2)
    stop = asyncio.create_task(fakes.places.stop())
    await asyncio.sleep(0)
    stop.cancel()
    await asyncio.wait({stop})
    assert stop.cancelled()
    assert all(place.killed for place in fakes.made)


async def test_a_stop_that_fails_is_told_once_all_have_ended() -> None:
    fakes = Fakes(2)

    async def fail() -> None:
        raise ZeroDivisionError

    fakes.made[0].stop = fail  # type: ignore[method-assign]
    stop = asyncio.create_task(fakes.places.stop())
    await turns()
    assert not stop.done()
    fakes.made[1].ended.set()
    with pytest.raises(ZeroDivisionError):
        await stop


async def test_places_that_have_ended_are_not_kept() -> None:
    fakes = Fakes(2)
    for _ in range(3):
        resize = resizing(fakes.places, 1)
        await turns()
        resize.cancel()
        await asyncio.wait({resize})
        fakes.made[-1].ended.set()
        await fakes.places.resize(2)
    assert not fakes.places._retired


async def test_the_end_fails_calls_that_wait() -> None:
    fakes = Fakes(1, room=0)
    call = asyncio.create_task(fakes.places.balancer.take(None))
    await turns()
    stop = asyncio.create_task(fakes.places.stop())
    with pytest.raises(HelperError, match="the pool was stopped"):
        await call
    fakes.made[0].ended.set()
    await stop
    with pytest.raises(HelperError, match="entered already"):
        fakes.places.open()


async def test_a_pool_that_was_stopped_before_its_block_stays_so() -> None:
    places = Places([], 1, FakePlace)  # type: ignore[arg-type]
    await places.stop()
    with pytest.raises(HelperError, match="entered already"):
        places.open()
