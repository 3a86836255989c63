"""Calls that wait until fewer are open: each gets its turn, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import raw
from ipc_channel import IPCChannelClient, RequestChannel, UnansweredError, serve
from ipc_channel.conformance.raw_peer import CLOSE
from requesting import Peer, answer, frame_of


async def test_all_that_wait_fail_when_the_session_ends(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=1)
    calls = [asyncio.create_task(requests.call(b"x")) for _ in range(4)]
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"x"
    theirs.send(CLOSE)
    theirs.end_writing()
    results = await asyncio.wait_for(
        asyncio.gather(*calls, return_exceptions=True), raw.PATIENCE
    )
    assert [type(one) for one in results] == [UnansweredError] * 4
    sent: list[Any] = [one.sent for one in results if isinstance(one, UnansweredError)]
    assert sent == [True, False, False, False]


async def test_one_that_cannot_be_sent_lets_the_next_one_go(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=1)
    first = asyncio.create_task(requests.call(b"first"))
    bad: Any = "bad"
    second = asyncio.create_task(requests.call(bad))
    third = asyncio.create_task(requests.call(b"third"))
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"first"
    theirs.send(answer(1))
    assert await frame_of(theirs) == bytes.fromhex("1100000002") + b"third"
    theirs.send(answer(2))
    await asyncio.gather(first, third)
    with pytest.raises(TypeError, match="not str"):
        await second


async def test_thousands_that_are_cancelled_leave_nothing(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=1)
    first = asyncio.create_task(requests.call(b"first"))
    waiting = [asyncio.create_task(requests.call(b"never")) for _ in range(2000)]
    last = asyncio.create_task(requests.call(b"last"))
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"first"
    for one in waiting:
        one.cancel()
    theirs.send(answer(1))
    assert await frame_of(theirs) == bytes.fromhex("1100000002") + b"last"
    theirs.send(answer(2))
    await asyncio.gather(first, last)
    done, _ = await asyncio.wait(waiting)
    assert all(one.cancelled() for one in done)
    assert requests.open_requests == 0


async def test_they_get_their_turn_before_calls_that_come_later(
    pair: tuple[IPCChannelClient, IPCChannelClient],
) -> None:
    """Also before the next call of the task whose answer has made room."""
    serving = asyncio.create_task(serve(pair[0], lambda payload: payload))
    requests = RequestChannel(pair[1], max_open=1)
    order: list[str] = []

    async def call(name: str, times: int) -> None:
        for _ in range(times):
            await requests.call(b"x")
            order.append(name)

    await asyncio.gather(call("a", 3), call("b", 2), call("c", 1))
    assert order == ["a", "b", "c", "a", "b", "a"]
    await pair[1].close()
    await serving


async def test_they_keep_their_order_when_others_are_cancelled(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=1)
    calls = [asyncio.create_task(requests.call(b"%d" % one)) for one in range(7)]
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"0"
    for one in (1, 2, 4):
        calls[one].cancel()
    await asyncio.wait({calls[one] for one in (1, 2, 4)})
    for number, one in enumerate((3, 5, 6), 2):
        theirs.send(answer(number - 1))
        assert await frame_of(theirs) == bytes.fromhex(f"110000000{number}") + b"%d" % one
    theirs.send(answer(4))
    await asyncio.gather(*calls, return_exceptions=True)


async def test_one_that_is_cancelled_when_its_turn_has_come_lets_the_next_one_go(
    peer: Peer,
) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=1)

    async def call(number: int) -> None:
        await requests.call(b"%d" % number)
        calls[1].cancel()

    calls = [asyncio.create_task(call(number)) for number in range(3)]
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"0"
    theirs.send(answer(1))
    assert await frame_of(theirs) == bytes.fromhex("1100000002") + b"2"
    theirs.send(answer(2))
    await asyncio.gather(calls[0], calls[2])
    assert calls[1].cancelled()
