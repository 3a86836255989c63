"""Requests of the other end that wait: for their turn, for their answers, for their ends."""

from __future__ import annotations

import asyncio

import pytest

from ipc_channel import BadMessageError, RequestChannel, serve
from ipc_channel.conformance.raw_peer import CLOSE
from raw import PATIENCE, Raw
from requesting import Peer, answer, cancel, frame_of, never, request

_LARGE = 20 * 2**20  # bytes: more than all buffers between the ends hold


async def frames_of(peer: Raw, count: int) -> list[bytes | None]:
    return [await frame_of(peer) for _ in range(count)]


@pytest.mark.covers("REQ-6", "REQ-14")
async def test_a_cancel_comes_while_the_answer_waits_to_be_sent(peer: Peer) -> None:
    """It is too late then, and the answer is sent."""
    ours, theirs = peer

    async def handler(payload: bytes) -> bytes:
        return bytes(_LARGE) if payload == b"large" else payload

    serving = asyncio.create_task(serve(ours, handler))
    theirs.send(request(1, b"large") + request(2, b"x") + cancel(1) + cancel(2))
    assert await frame_of(theirs) == answer(1, bytes(_LARGE))[4:]
    assert await frame_of(theirs) == answer(2, b"x")[4:]
    theirs.send(CLOSE)
    theirs.end_writing()
    await serving


async def test_a_thousand_that_wait_are_handled_one_after_the_other(peer: Peer) -> None:
    """Each handler that ends begins the next one: that needs no deep stack."""
    ours, theirs = peer
    go_on = asyncio.Event()

    async def handler(payload: bytes) -> bytes:
        await go_on.wait()
        return payload

    serving = asyncio.create_task(serve(ours, handler, concurrency=1))
    theirs.send(b"".join(request(number) for number in range(1025)))
    busy = await frame_of(theirs)
    assert busy is not None
    assert busy[:10] == bytes.fromhex("1300000400") + b"\4busy"
    go_on.set()
    answers = await frames_of(theirs, 1024)
    assert answers == [answer(number)[4:] for number in range(1024)]
    theirs.send(CLOSE)
    theirs.end_writing()
    await serving


async def test_one_that_waits_for_its_turn_has_its_id(peer: Peer) -> None:
    ours, theirs = peer
    theirs.send(request(1) + request(2) + request(2))
    with pytest.raises(BadMessageError, match="request 2 is not answered yet"):
        await asyncio.wait_for(serve(ours, never, concurrency=1), PATIENCE)


async def test_serving_that_is_cancelled_waits_for_its_handlers(peer: Peer) -> None:
    ours, theirs = peer
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(payload: bytes) -> bytes:
        begun.set()
        try:
            return await never(payload)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)  # for other tasks
            ended.set()

    serving = asyncio.create_task(serve(ours, handler))
    theirs.send(request(1))
    await begun.wait()
    serving.cancel()
    await asyncio.wait({serving})
    assert ended.is_set()


async def test_a_handler_fails_with_what_has_no_text(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = peer

    class UntoldError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def handler(_: bytes) -> bytes:
        raise UntoldError

    serving = asyncio.create_task(serve(ours, handler))
    theirs.send(request(1))
    got = await frame_of(theirs)
    assert got is not None
    assert got[5:] == b"\6failedUntoldError: its text cannot be told"
    assert "the handler of a request failed" in caplog.text
    theirs.send(CLOSE)
    theirs.end_writing()
    await serving


@pytest.mark.covers("REQ-5")
async def test_ids_begin_anew_and_leave_out_those_that_are_open(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    calls = []
    for expected in (1, 2**32 - 1, 0, 2):
        calls.append(asyncio.create_task(requests.call(b"x")))
        assert await frame_of(theirs) == request(expected, b"x")[4:]
        if expected == 1:
            requests._line._last_id = 2**32 - 2
    theirs.send(b"".join(answer(number, b"%d" % number) for number in (0, 1, 2, 2**32 - 1)))
    assert await asyncio.gather(*calls) == [b"1", b"4294967295", b"0", b"2"]


async def test_only_a_call_that_comes_too_late_was_not_sent(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    call = asyncio.create_task(requests.call(b"x"))
    await frame_of(theirs)
    theirs.send(answer(2))
    with pytest.raises(BadMessageError) as caught:
        await call
    assert caught.value.sent
    with pytest.raises(BadMessageError) as caught:
        await requests.call(b"y")
    assert not caught.value.sent
