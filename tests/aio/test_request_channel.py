"""Requests over a channel of asyncio: limits, cancelling, ends and both directions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import raw
from ipc_channel import (
    BadMessageError,
    CallTimeoutError,
    ChannelClosedError,
    MessageTooLargeError,
    NotConnectedError,
    RequestChannel,
    RequestError,
    ResetError,
    UnansweredError,
    make_ipc_channel,
    serve,
)
from ipc_channel.conformance.raw_peer import CLOSE
from ipc_channel.options import Options
from raw import connected
from requesting import Peer, answer, frame_of, request


@pytest.mark.covers("REQ-7")
async def test_a_call_waits_while_as_many_as_may_be_are_open(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=2)
    calls = [asyncio.create_task(requests.call(b"%d" % one)) for one in range(3)]
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"0"
    assert await frame_of(theirs) == bytes.fromhex("1100000002") + b"1"
    assert not await asyncio.to_thread(theirs.can_read)
    theirs.send(answer(2, b"two"))
    assert await frame_of(theirs) == bytes.fromhex("1100000003") + b"2"
    theirs.send(answer(3, b"three") + answer(1, b"one"))
    assert await asyncio.gather(*calls) == [b"one", b"two", b"three"]
    assert requests.open_requests == 0


async def test_a_call_that_times_out_is_cancelled_and_its_answer_dropped(
    peer: Peer,
) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    with pytest.raises(CallTimeoutError, match=r"no answer came within 0\.01 s") as caught:
        await requests.call(b"x", 0.01)
    assert caught.value.sent == 1
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + b"x"
    assert await frame_of(theirs) == bytes.fromhex("1400000001")
    assert requests.open_requests == 1
    theirs.send(answer(1, b"late"))
    await raw.eventually(lambda: requests.open_requests == 0)
    call = asyncio.create_task(requests.call(b"y"))
    assert await frame_of(theirs) == bytes.fromhex("1100000002") + b"y"
    theirs.send(answer(2, b"in time"))
    assert await call == b"in time"


async def test_a_call_that_times_out_tells_that_it_was_not_sent(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, max_open=1)
    first = asyncio.create_task(requests.call(b"first"))
    assert await frame_of(theirs) == request(1, b"first")[4:]
    with pytest.raises(
        CallTimeoutError, match=r"not sent within .* max_open = 1 r"
    ) as caught:
        await requests.call(b"second", 0.01)
    assert caught.value.sent == 0
    theirs.send(answer(1))
    assert await first == b""


async def test_the_reader_is_cancelled_and_another_call_reads(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    calls = [asyncio.create_task(requests.call(b"%d" % one)) for one in range(4)]
    for _ in calls:
        await frame_of(theirs)
    calls[0].cancel()  # it reads, as it was the first to wait
    assert await frame_of(theirs) == bytes.fromhex("1400000001")
    theirs.send(answer(3, b"three") + answer(1, b"late") + answer(2, b"two"))
    theirs.send(answer(4, b"four"))
    assert await asyncio.gather(*calls[1:]) == [b"two", b"three", b"four"]


async def test_a_call_is_cancelled_while_its_request_waits_to_be_sent(peer: Peer) -> None:
    """It cannot be taken back: so it is sent whole, and the cancel after it."""
    ours, theirs = peer
    requests = RequestChannel(ours)
    large = bytes(8 * 2**20)
    call = asyncio.create_task(requests.call(large))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait({call})
    assert await frame_of(theirs) == bytes.fromhex("1100000001") + large
    assert await frame_of(theirs) == bytes.fromhex("1400000001")


async def test_what_ends_a_session_is_the_cause(tmp_path: Path) -> None:
    async with connected("tcp", "client", tmp_path) as (ours, theirs):
        requests = RequestChannel(ours)
        call = asyncio.create_task(requests.call(b"x"))
        await frame_of(theirs)
        theirs.reset()
        with pytest.raises(UnansweredError, match="may or may not") as caught:
            await call
        assert isinstance(caught.value.__cause__, ResetError)
        assert caught.value.end_reason == "reset"
        with pytest.raises(ResetError):
            await requests.serve(bytes)


async def test_the_other_end_stops_reading(tmp_path: Path) -> None:
    """Only a write tells, and the other end never ends its own direction."""
    async with connected("unix", "client", tmp_path) as (ours, theirs):
        requests = RequestChannel(ours)
        waits = asyncio.create_task(requests.call(b"x"))
        await frame_of(theirs)
        theirs.end_reading()
        with pytest.raises(UnansweredError, match="does not read"):
            await requests.call(b"y")
        with pytest.raises(UnansweredError, match="does not read"):
            await waits


async def test_wait_ended_notices_that_the_other_end_does_not_read(tmp_path: Path) -> None:
    """With calls that wait meanwhile, or without."""
    for calls in (0, 1):
        directory = tmp_path / str(calls)
        directory.mkdir()
        async with connected("unix", "client", directory) as (ours, theirs):
            requests = RequestChannel(ours)
            waiting = asyncio.create_task(requests.wait_ended())
            open_calls = [asyncio.create_task(requests.call(b"x")) for _ in range(calls)]
            await asyncio.sleep(0)  # they are sent
            theirs.end_reading()
            with pytest.raises(UnansweredError, match="does not read"):
                await requests.call(b"y")
            await asyncio.wait_for(waiting, raw.PATIENCE)
            await asyncio.gather(*open_calls, return_exceptions=True)


async def test_wait_ended_notices_the_end_of_an_idle_channel(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    waiting = asyncio.create_task(requests.wait_ended())
    call = asyncio.create_task(requests.call(b"x"))
    await frame_of(theirs)
    theirs.send(answer(1, b"y") + CLOSE)
    theirs.end_writing()
    assert await call == b"y"
    await waiting


@pytest.mark.covers("REQ-17")
async def test_a_limit_below_the_longest_code_is_refused(
    transport: str, role: str, tmp_path: Path
) -> None:
    options: Options = {"max_message_size": 69}
    async with connected(transport, role, tmp_path, **options) as (ours, _):
        with pytest.raises(ValueError, match="is 69, but requests need at least 70"):
            RequestChannel(ours)


@pytest.mark.covers("REQ-17")
async def test_the_longest_code_of_an_error_fits(
    transport: str, role: str, tmp_path: Path
) -> None:
    options: Options = {"max_message_size": 70}
    async with connected(transport, role, tmp_path, **options) as (ours, theirs):
        serving = asyncio.create_task(serve(ours, _fail_at_length))
        theirs.send(request(1))
        error = await frame_of(theirs)
        assert error == bytes.fromhex("1300000001") + b"\x40" + b"c" * 64
        theirs.send(CLOSE)
        await serving


def _fail_at_length(_: bytes) -> bytes:
    raise RequestError("text", code="c" * 64)


async def test_a_call_after_the_end_says_that_it_was_not_sent(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    theirs.send(CLOSE)
    theirs.end_writing()
    with pytest.raises(UnansweredError, match="no answer came") as caught:
        await requests.call(b"x")
    assert caught.value.sent
    with pytest.raises(
        UnansweredError, match=r"\(clean\), and the request was not sent"
    ) as caught:
        await requests.call(b"x")
    assert not caught.value.sent


async def test_misuse_is_refused(peer: Peer) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours)
    with pytest.raises(TypeError, match="without 'sync'"):
        RequestChannel(object())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="has a RequestChannel already"):
        RequestChannel(ours)
    for misused in (ours.read(), ours.write(b"x")):
        with pytest.raises(RuntimeError, match="belong to its RequestChannel"):
            await misused
    with pytest.raises(ValueError, match="max_open is 0, but must be at least 1"):
        RequestChannel(ours, max_open=0)
    with pytest.raises(TypeError, match="must be a bytes-like object, not str: encode it"):
        await requests.call("text")  # type: ignore[arg-type]
    with pytest.raises(MessageTooLargeError, match="67108864"):
        await requests.call(bytes(2**26 - 4))
    with pytest.raises(ValueError, match="not within 0"):
        await requests.call(b"x", -1)
    with pytest.raises(TypeError, match="handler is a callable, not int"):
        await requests.serve(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency is 0"):
        await requests.serve(bytes, concurrency=0)
    with pytest.raises(ValueError, match="1 to 64 of a-z"):
        RequestError("x", code="Not Found")
    serving = asyncio.create_task(requests.serve(bytes))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="is being served already"):
        await requests.serve(bytes)
    assert requests.open_requests == 0
    theirs.send(b"\0\0\0\5hello")
    with pytest.raises(BadMessageError, match="68 65 6c 6c 6f"):
        await serving
    await ours.close()
    assert await ours.read() is None
    with pytest.raises(ChannelClosedError):
        await ours.write(b"x")
    with pytest.raises(BadMessageError):
        await requests.call(b"x")


async def test_a_channel_has_to_be_connected_and_open(peer: Peer) -> None:
    server = make_ipc_channel(transport="tcp")
    with pytest.raises(NotConnectedError):
        RequestChannel(server)
    await server.close()
    ours, _ = peer
    requests = RequestChannel(ours)
    await ours.close()
    with pytest.raises(ChannelClosedError):
        await requests.call(b"x")
