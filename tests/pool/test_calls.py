"""What becomes of a call: answers, errors, retries, and how they are counted."""

from __future__ import annotations

import asyncio

import pytest

from fake_places import Ends, FakePlace, turns
from ipc_channel import (
    BadMessageError,
    CallTimeoutError,
    ChannelClosedError,
    HelperError,
    RequestError,
    SessionInterruptedError,
    UnansweredError,
)
from ipc_channel.pool.calls import Calls

LOSSES = (UnansweredError, BadMessageError, ChannelClosedError, SessionInterruptedError)


def not_sent() -> UnansweredError:
    error = UnansweredError("the request was not sent")
    error.sent = False
    return error


def counts(calls: Calls) -> tuple[int, int, int]:
    return calls.answered, calls.failed, calls.retried


async def test_what_was_not_sent_is_sent_again_at_no_cost() -> None:
    place = FakePlace(1, not_sent(), not_sent(), b"answer")
    calls = Calls(Ends(place).balancer)
    assert await calls.call(b"x", None, 0) == b"answer"
    assert counts(calls) == (1, 0, 0)
    place.outcomes.extend([not_sent(), UnansweredError("lost"), not_sent(), b"answer"])
    assert await calls.call(b"x", None, 1) == b"answer"
    assert counts(calls) == (2, 0, 1)
    assert place.in_flight == 0
    assert place.answered == 2


@pytest.mark.parametrize("kind", [*LOSSES, CallTimeoutError])
async def test_retries_are_counted_and_have_an_end(kind: type[Exception]) -> None:
    place = FakePlace(1, *[kind("no answer") for _ in range(3)], b"answer")
    calls = Calls(Ends(place).balancer)
    with pytest.raises((kind, UnansweredError)):
        await calls.call(b"x", None, 2)
    assert counts(calls) == (0, 1, 2)
    assert await calls.call(b"x", None, 0) == b"answer"
    assert len(place.forgotten) == (0 if kind is CallTimeoutError else 3)
    assert all(isinstance(error, kind) for error in place.forgotten)


@pytest.mark.parametrize("kind", [*LOSSES, CallTimeoutError])
async def test_a_call_is_sent_once_unless_more_is_allowed(kind: type[Exception]) -> None:
    place = FakePlace(1, kind("no answer"), b"answer")
    calls = Calls(Ends(place).balancer)
    with pytest.raises((kind, UnansweredError)):
        await calls.call(b"x", None, 0)
    assert counts(calls) == (0, 1, 0)
    assert (len(place.outcomes), place.in_flight, place.answered) == (1, 0, 0)


async def test_a_retry_goes_to_another_place_though_that_has_more_calls() -> None:
    fails, other = FakePlace(9, UnansweredError("lost")), FakePlace(9, b"answer")
    calls = Calls(Ends(fails, other).balancer)
    other.in_flight = 5
    assert await calls.call(b"x", None, 1) == b"answer"
    assert not other.outcomes


async def test_an_error_of_the_handler_is_an_answer_of_the_place() -> None:
    place = FakePlace(1, RequestError("told to"))
    calls = Calls(Ends(place).balancer)
    with pytest.raises(RequestError):
        await calls.call(b"x", None, 9)
    assert counts(calls) == (1, 0, 0)
    assert place.answered == 1


async def test_a_session_that_the_pool_closed_is_a_lost_helper() -> None:
    place = FakePlace(1, ChannelClosedError("closed"))
    with pytest.raises(UnansweredError, match=r"^helper fake was lost, and no answer"):
        await Calls(Ends(place).balancer).call(b"x", None, 0)


async def test_no_call_is_sent_again_after_the_end() -> None:
    """Its own error says more than that of the pool."""
    place = FakePlace()
    ends = Ends(place)

    async def call(_payload: bytes, _timeout: float | None) -> bytes:
        ends.end = HelperError("it is over")
        raise ChannelClosedError("closed")

    place.call = call  # type: ignore[method-assign]
    calls = Calls(ends.balancer)
    with pytest.raises(ChannelClosedError):
        await calls.call(b"x", None, 2)
    assert counts(calls) == (0, 1, 0)
    with pytest.raises(HelperError, match="it is over"):
        await calls.call(b"x", None, 2)
    assert counts(calls) == (0, 2, 0)


async def test_a_call_that_is_cancelled_has_failed() -> None:
    calls = Calls(Ends(FakePlace(0)).balancer)
    call = asyncio.create_task(calls.call(b"x", None, 2))
    await turns()
    call.cancel()
    await asyncio.wait({call})
    assert counts(calls) == (0, 1, 0)
