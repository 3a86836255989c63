"""Objects in place of bytes: what is sent, and what happens to what no codec can do."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import blocking
import typed_requests
from blocking import Call
from ipc_channel import (
    JSON,
    BadAnswerError,
    Codec,
    IPCChannelClient,
    RequestChannel,
    serve,
    sync,
)
from ipc_channel.conformance.raw_peer import CLOSE, frame
from raw import Raw, connected

REQUEST, ANSWER = "1100000001", "1200000001"
FAILED = bytes.fromhex("1300000001") + b"\6failed"
OBJECT = {"text": "ä", "list": [1, None, 2.5]}
ENCODED = '{"text":"ä","list":[1,null,2.5]}'.encode()
# Objects that JSON cannot encode: of a type unknown to it, not in JSON, not in UTF-8.
UNKNOWN = {"set": {1}, "nan": float("nan"), "surrogate": "\udc80"}


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[tuple[IPCChannelClient, Raw]]:
    async with connected("tcp", "client", tmp_path) as both:
        yield both


async def frame_of(raw: Raw) -> bytes:
    message = await asyncio.to_thread(raw.recv_frame)
    assert message is not None
    return message


def message(head: str, body: bytes) -> bytes:
    return bytes.fromhex(head) + body


async def test_objects_are_sent_and_received(peer: tuple[IPCChannelClient, Raw]) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, codec=JSON)
    call = asyncio.create_task(requests.call(OBJECT, 60))
    assert await frame_of(theirs) == message(REQUEST, ENCODED)
    theirs.send(frame(message(ANSWER, b"null")))
    assert await call is None


async def test_a_handler_gets_and_returns_objects(
    peer: tuple[IPCChannelClient, Raw],
) -> None:
    ours, theirs = peer

    async def handler(value: Any) -> Any:
        await asyncio.sleep(0)
        return [value, value]

    serving = asyncio.create_task(serve(ours, handler, codec=JSON))
    theirs.send(frame(message(REQUEST, b" 1")))
    assert await frame_of(theirs) == message(ANSWER, b"[1,1]")
    theirs.send(CLOSE)
    await serving


@pytest.mark.parametrize("value", UNKNOWN.values(), ids=UNKNOWN)
async def test_what_cannot_be_encoded_is_not_sent(
    peer: tuple[IPCChannelClient, Raw], value: Any
) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, codec=JSON)
    with pytest.raises(TypeError, match=r"cannot encode the request, a (set|float|str): "):
        await requests.call(value)
    assert requests.open_requests == 0
    call = asyncio.create_task(requests.call(1))
    assert await frame_of(theirs) == message(REQUEST, b"1")
    theirs.send(frame(message(ANSWER, b"2")))
    assert await call == 2


async def test_an_answer_that_cannot_be_encoded_is_a_fault_of_the_handler(
    peer: tuple[IPCChannelClient, Raw], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = peer
    handlers: list[Callable[[Any], Any]] = [lambda _: {1}]

    async def later(_: Any) -> Any:
        return {1}

    handlers.append(later)
    requests = RequestChannel(ours, codec=JSON)
    for handler in handlers:
        serving = asyncio.create_task(requests.serve(handler))
        theirs.send(frame(message(REQUEST, b"1")))
        answer = await frame_of(theirs)
        assert answer.startswith(FAILED)
        assert b"cannot encode the answer, a set: TypeError" in answer
        assert "the handler of a request failed" in caplog.text
        serving.cancel()
        await asyncio.wait({serving})


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", '"ä"'.encode("utf-16")])
async def test_a_request_that_cannot_be_decoded_is_answered(
    peer: tuple[IPCChannelClient, Raw], data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its handler is not called, and nothing is logged: it is a fault of the caller."""
    ours, theirs = peer
    called: list[Any] = []
    serving = asyncio.create_task(serve(ours, called.append, codec=JSON))
    theirs.send(frame(message(REQUEST, data)))
    answer = await frame_of(theirs)
    assert answer.startswith(FAILED)
    assert b"cannot decode the request of %d bytes: " % len(data) in answer
    theirs.send(frame(message(REQUEST, b"1")))
    assert await frame_of(theirs) == message(ANSWER, b"null")
    assert called == [1]
    assert not caplog.records
    theirs.send(CLOSE)
    await serving


async def test_an_answer_that_cannot_be_decoded_ends_its_call_alone(
    peer: tuple[IPCChannelClient, Raw],
) -> None:
    ours, theirs = peer
    requests = RequestChannel(ours, codec=JSON)
    call = asyncio.create_task(requests.call(1))
    await frame_of(theirs)
    theirs.send(frame(message(ANSWER, b"[1")))
    with pytest.raises(BadAnswerError, match="the answer of 2 bytes: JSONDecode") as caught:
        await call
    assert isinstance(caught.value.__cause__, ValueError)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.answer, str(copied)) == (b"[1", str(caught.value))
    call = asyncio.create_task(requests.call(2))
    await frame_of(theirs)
    theirs.send(frame(message("1200000002", b"[1]")))
    assert await call == [1]


async def test_a_codec_has_to_return_bytes(peer: tuple[IPCChannelClient, Raw]) -> None:
    wrong: Any = Codec(str, bytes)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match="has returned str for the request: it has to return bytes"
    ):
        await RequestChannel(peer[0], codec=wrong).call(1)
    with pytest.raises(TypeError, match=r"such as ipc_channel\.JSON, not dict"):
        RequestChannel(peer[0], codec={})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="decode of a codec is a callable, not NoneType"):
        Codec(str.encode, None)  # type: ignore[arg-type]


async def test_the_typed_program_runs() -> None:
    assert await typed_requests.main() == len("how many")


def test_objects_in_threads(tmp_path: Path) -> None:
    with blocking.connected("tcp", "client", tmp_path) as (ours, theirs):
        requests = sync.RequestChannel(ours, codec=JSON)
        with pytest.raises(TypeError, match="cannot encode the request, a set"):
            requests.call({1})
        call = Call(requests.call, OBJECT)
        assert theirs.recv_frame() == message(REQUEST, ENCODED)
        theirs.send(frame(message(ANSWER, b"null")))
        assert call.result() is None
        call = Call(requests.call, 1)
        assert theirs.recv_frame() == message("1100000002", b"1")
        theirs.send(frame(message("1200000002", b"[1")))
        assert isinstance(call.error(), BadAnswerError)


def test_handlers_in_threads(tmp_path: Path) -> None:
    with blocking.connected("tcp", "client", tmp_path) as (ours, theirs):
        serving = Call(sync.serve, ours, lambda value: [value], codec=JSON)
        theirs.send(frame(message(REQUEST, b"1")))
        assert theirs.recv_frame() == message(ANSWER, b"[1]")
        theirs.send(frame(message(REQUEST, b"?")))
        answer = theirs.recv_frame()
        assert answer is not None
        assert answer.startswith(FAILED)
        theirs.send(CLOSE)
        serving.result()


def test_an_error_of_a_codec_may_be_any(tmp_path: Path) -> None:
    def fail(_: object) -> bytes:
        raise RuntimeError("never")

    failing = Codec(fail, fail)
    with blocking.connected("tcp", "client", tmp_path) as (ours, theirs):
        requests = sync.RequestChannel(ours, codec=failing)
        with pytest.raises(TypeError, match="RuntimeError: never"):
            requests.call(1)
        serving = Call(requests.serve, fail)
        theirs.send(frame(message(REQUEST, b"1")))
        answer = theirs.recv_frame()
        assert answer is not None
        assert answer.startswith(FAILED)
        assert answer.endswith(b"RuntimeError: never")
        theirs.send(CLOSE)
        serving.result()
