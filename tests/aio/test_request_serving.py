"""Serving requests on a channel of asyncio: limits, cancelling, both directions."""

from __future__ import annotations

import asyncio

import pytest

import raw
import waiting
from ipc_channel import (
    BadMessageError,
    IPCChannelClient,
    RequestChannel,
    UnansweredError,
    serve,
)
from ipc_channel.conformance.raw_peer import CLOSE, frame
from requesting import Peer, answer, cancel, frame_of, never, request


@pytest.mark.covers("REQ-7")
async def test_a_request_too_many_is_answered_with_busy(peer: Peer) -> None:
    ours, theirs = peer
    go_on = asyncio.Event()

    async def handler(payload: bytes) -> bytes:
        await go_on.wait()
        return payload

    requests = RequestChannel(ours, max_open=2)
    serving = asyncio.create_task(requests.serve(handler, concurrency=1))
    theirs.send(request(1, b"a") + request(2, b"b") + request(3, b"c"))
    busy = await frame_of(theirs)
    assert busy is not None
    assert busy[:10] == bytes.fromhex("1300000003") + b"\4busy"
    go_on.set()
    assert await frame_of(theirs) == bytes.fromhex("1200000001") + b"a"
    assert await frame_of(theirs) == bytes.fromhex("1200000002") + b"b"
    theirs.send(CLOSE)
    theirs.end_writing()
    await serving


async def test_a_cancel_may_come_together_with_its_request(peer: Peer) -> None:
    """Before the handler has begun, on some loops."""
    ours, theirs = peer
    serving = asyncio.create_task(serve(ours, never))
    for number in (1, 2):
        cancel = frame(b"\x14" + number.to_bytes(4, "big"))
        theirs.send(request(number, b"x") + cancel + cancel)
        cancelled = await frame_of(theirs)
        assert cancelled is not None
        assert cancelled[:15] == bytes.fromhex(f"130000000{number}") + b"\x09cancelled"
    theirs.send(CLOSE)
    theirs.end_writing()
    await serving


async def test_both_ends_ask_and_answer_at_once(
    pair: tuple[IPCChannelClient, IPCChannelClient],
) -> None:
    """Neither waits for the other, however large the messages are."""
    large = bytes(3 * 2**20)
    left, right = RequestChannel(pair[0]), RequestChannel(pair[1])

    async def echo(payload: bytes) -> bytes:
        return payload

    serving = [asyncio.create_task(one.serve(echo)) for one in (left, right)]
    answers = await asyncio.gather(
        *(one.call(large) for one in (left, right) for _ in range(8))
    )
    assert set(answers) == {large}
    await pair[0].close()
    await asyncio.gather(*serving)


async def test_a_handler_asks_the_caller(
    pair: tuple[IPCChannelClient, IPCChannelClient],
) -> None:
    """Calls go back and forth until the number is 0, though each end runs few handlers."""
    left, right = RequestChannel(pair[0]), RequestChannel(pair[1])

    def counting(other: RequestChannel) -> object:
        async def handler(payload: bytes) -> bytes:
            number = int(payload)
            return b"%d" % (number and int(await other.call(b"%d" % (number - 1))) + 1)

        return handler

    serving = [
        asyncio.create_task(one.serve(counting(one)))  # type: ignore[arg-type]
        for one in (left, right)
    ]
    assert await left.call(b"50") == b"50"
    await pair[1].close()
    await asyncio.gather(*serving)


async def test_requests_wait_until_serve_runs(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=2, serves=True)
    call = asyncio.create_task(requests.call(b"?"))
    assert await frame_of(theirs) == request(1, b"?")[4:]
    for number in (1, 2, 3):
        theirs.send(request(number, b"a"))
    theirs.send(cancel(1) + answer(1, b"!"))
    assert await call == b"!"
    refused = [await frame_of(theirs), await frame_of(theirs)]
    assert [one and one[:10] for one in refused] == [
        bytes.fromhex("1300000003") + b"\4busy",
        bytes.fromhex("1300000001") + b"\x09canc",
    ]
    serving = asyncio.create_task(requests.serve(lambda payload: payload + b"b"))
    assert await frame_of(theirs) == bytes.fromhex("1200000002") + b"ab"
    theirs.send(CLOSE)
    theirs.end_writing()
    await serving


async def test_a_request_that_waits_for_serve_has_its_id(peer: Peer) -> None:
    ours, theirs = peer
    theirs.send(request(1) + request(1))
    with pytest.raises(BadMessageError, match="request 1 is not answered yet"):
        await RequestChannel(ours, serves=True).call(b"?")


async def test_requests_that_wait_are_not_handled_after_the_end(peer: Peer) -> None:
    ours, theirs = peer
    theirs.send(request(1) + CLOSE)
    theirs.end_writing()
    requests = RequestChannel(ours, serves=True)
    with pytest.raises(UnansweredError):
        await requests.call(b"?")
    handled: list[bytes] = []

    def handler(payload: bytes) -> bytes:
        handled.append(payload)
        return payload

    await requests.serve(handler)
    assert not handled


async def test_serving_ends_and_calls_go_on(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    serving = asyncio.create_task(requests.serve(lambda payload: payload))
    call = asyncio.create_task(requests.call(b"x"))
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"x"
    serving.cancel()
    await asyncio.wait({serving})
    theirs.send(request(7, b"?"))
    unserved = await frame_of(theirs)
    assert unserved is not None
    assert unserved.startswith(bytes.fromhex("1300000007") + b"\x08unserved")
    theirs.send(answer(1, b"y"))
    assert await call == b"y"


async def test_serving_that_is_cancelled_answers_what_it_has_begun(peer: Peer) -> None:
    ours, theirs = peer
    serving = asyncio.create_task(serve(ours, never, concurrency=1))
    theirs.send(request(1) + request(2))
    await raw.eventually(lambda: len(asyncio.all_tasks()) > 2)
    serving.cancel()
    answers = [await frame_of(theirs), await frame_of(theirs)]
    assert {one[:15] for one in answers if one} == {
        bytes.fromhex(f"130000000{number}") + b"\x09cancelled" for number in (1, 2)
    }
    await asyncio.wait({serving})
    assert serving.cancelled()


async def test_the_first_of_the_handlers_that_begin_at_once_reads_the_cancels(
    peer: Peer,
) -> None:
    """Of itself and of the next one."""
    ours, theirs = peer
    requests = RequestChannel(ours, serves=True)
    call = asyncio.create_task(requests.call(b"?"))
    assert await frame_of(theirs) == request(1, b"?")[4:]
    theirs.send(request(1) + request(2) + answer(1))
    await call

    async def handler(_: bytes) -> bytes:
        await requests.call(b"!")
        return await never(b"")

    theirs.send(cancel(2) + cancel(1))
    await waiting.until_taken(ours)
    serving = asyncio.create_task(requests.serve(handler))
    missing = {bytes.fromhex(f"130000000{number}") + b"\x09cancelled" for number in (1, 2)}
    while missing:  # beside what the handlers ask
        got = await frame_of(theirs)
        assert got is not None
        missing.discard(got[:15])
    serving.cancel()
    await asyncio.wait({serving})
