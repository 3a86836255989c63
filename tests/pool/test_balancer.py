"""Which place gets a call, and in which order calls wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fake_places import Ends, FakePlace, turns
from ipc_channel import HelperError
from ipc_channel.pool.balancer import Balancer


def taking(balancer: Balancer, before: Any = None) -> asyncio.Task[Any]:
    return asyncio.create_task(balancer.take(before))


async def take(balancer: Balancer, before: Any = None) -> Any:
    place, _ = await asyncio.wait_for(balancer.take(before), 10)
    return place


def give_back(balancer: Balancer, place: Any) -> None:
    balancer.give_back(place, place, answered=True)


async def test_the_place_with_the_fewest_gets_a_call_or_that_which_waits_longest() -> None:
    one, two, three = FakePlace(9), FakePlace(9), FakePlace(9)
    balancer = Ends(one, two, three).balancer
    assert [await take(balancer) for _ in range(4)] == [one, two, three, one]
    give_back(balancer, two)
    assert [await take(balancer) for _ in range(2)] == [two, three]


async def test_a_call_that_is_cancelled_as_its_turn_comes_gives_it_to_the_next() -> None:
    place = FakePlace()
    balancer = Ends(place).balancer
    await take(balancer)
    first, second = taking(balancer), taking(balancer)
    await turns()
    give_back(balancer, place)
    first.cancel()
    await second
    assert first.cancelled()
    assert (balancer.in_flight, place.in_flight, place.answered) == (1, 1, 1)


async def test_a_call_that_was_cancelled_before_its_turn_is_passed_over() -> None:
    place = FakePlace()
    balancer = Ends(place).balancer
    await take(balancer)
    first, second = taking(balancer), taking(balancer)
    await turns()
    first.cancel()
    give_back(balancer, place)
    await second
    assert (balancer.in_flight, place.in_flight, balancer.waiting) == (1, 1, 0)


async def test_a_call_that_is_cancelled_waits_no_more() -> None:
    place = FakePlace()
    balancer = Ends(place).balancer
    await take(balancer)
    call = taking(balancer)
    await turns()
    assert balancer.waiting == 1
    call.cancel()
    await asyncio.wait({call})
    assert balancer.waiting == 0


async def test_calls_keep_their_order_though_others_pass_them() -> None:
    """The first ones do not go back to the place that they have left."""
    left, other = FakePlace(2), FakePlace(0)
    balancer = Ends(left, other).balancer
    stay = [taking(balancer, left) for _ in range(3)]
    await turns()
    assert await take(balancer) is left
    stay.append(taking(balancer, left))
    late = taking(balancer)
    assert (await late)[0] is left
    assert balancer.waiting == 4
    for count in range(1, 5):
        other.room = count
        balancer.wake()
        await turns()
        assert [call.done() for call in stay] == [True] * count + [False] * (4 - count)


async def test_a_call_goes_back_only_if_no_other_place_will_have_a_helper() -> None:
    left, other = FakePlace(), FakePlace(0)
    balancer = Ends(left, other).balancer
    call = taking(balancer, left)
    await turns()
    assert not call.done()
    other.is_open = False
    balancer.wake()
    assert (await call)[0] is left
    give_back(balancer, left)
    assert await take(balancer, left) is left


async def test_the_end_is_told_to_those_who_wait_and_to_those_who_come() -> None:
    place = FakePlace()
    ends = Ends(place)
    balancer = ends.balancer
    await take(balancer)
    calls = [taking(balancer) for _ in range(2)]
    await turns()
    ends.end = HelperError("it is over")
    assert not balancer.is_open
    balancer.wake()
    for call in (*calls, taking(balancer)):
        with pytest.raises(HelperError, match="it is over"):
            await call
    assert (balancer.waiting, balancer.in_flight) == (0, 1)


async def test_drain_waits_for_calls_that_wait_and_for_those_in_flight() -> None:
    place = FakePlace(0)
    balancer = Ends(place).balancer
    call = taking(balancer)
    await turns()
    drains = [asyncio.create_task(balancer.drain()) for _ in range(2)]
    await turns()
    place.room = 1
    balancer.wake()
    await call
    await turns()
    assert not any(drain.done() for drain in drains)
    give_back(balancer, place)
    await balancer.take(None)  # before they have noticed
    await turns()
    assert not any(drain.done() for drain in drains)
    give_back(balancer, place)
    await asyncio.wait_for(asyncio.gather(*drains), 10)


async def test_drain_ends_when_calls_that_wait_are_cancelled() -> None:
    balancer = Ends(FakePlace(0)).balancer
    call = taking(balancer)
    await turns()
    draining = asyncio.create_task(balancer.drain())
    await turns()
    call.cancel()
    await asyncio.wait_for(draining, 10)
