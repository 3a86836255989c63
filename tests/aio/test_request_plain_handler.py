"""Handlers that are no coroutine functions: they are called without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar

import pytest

from ipc_channel import (
    IPCChannelClient,
    RequestChannel,
    RequestError,
)
from requesting import Peer, answer, cancel, frame_of, request, served

_LARGE = 20 * 2**20  # bytes: more than all buffers between the ends hold
_VARIABLE: ContextVar[bytes] = ContextVar("variable", default=b"unset")


async def test_it_gets_a_context_of_its_own(peer: Peer) -> None:
    """And what it wants to have awaited gets the same one."""

    async def later() -> bytes:
        await asyncio.sleep(0)
        return _VARIABLE.get()

    def handler(payload: bytes) -> bytes | Awaitable[bytes]:
        before = _VARIABLE.get()
        _VARIABLE.set(payload)
        return later() if payload == b"later" else before

    async with served(peer, handler) as theirs:
        for number, payload in enumerate([b"now", b"later", b"now"]):
            theirs.send(request(number, payload))
            expected = b"later" if payload == b"later" else b"unset"
            assert await frame_of(theirs) == answer(number, expected)[4:]
        assert _VARIABLE.get() == b"unset"


async def test_what_it_wants_to_have_awaited_need_not_be_a_coroutine(peer: Peer) -> None:
    futures: list[asyncio.Future[bytes]] = []

    def handler(_: bytes) -> asyncio.Future[bytes]:
        futures.append(asyncio.get_running_loop().create_future())
        if len(futures) == 2:
            futures[0].set_result(b"first")
        return futures[-1]

    async with served(peer, handler) as theirs:
        theirs.send(request(1) + request(2))
        assert await frame_of(theirs) == answer(1, b"first")[4:]
        theirs.send(cancel(2))
        cancelled = await frame_of(theirs)
        assert cancelled is not None
        assert cancelled[:15] == bytes.fromhex("1300000002") + b"\x09cancelled"
        assert futures[1].cancelled()


class LastOfAllError(BaseException):
    """No Exception, nor any that ends a loop."""


@pytest.mark.parametrize(
    ("error", "code", "awaited"),
    [
        (LastOfAllError, b"failed", False),
        (LastOfAllError, b"failed", True),
        (asyncio.CancelledError, b"cancelled", False),
        (asyncio.CancelledError, b"cancelled", True),
        (GeneratorExit, b"failed", False),
    ],
)
async def test_whatever_it_raises_is_answered(
    peer: Peer, error: type[BaseException], code: bytes, *, awaited: bool
) -> None:
    async def later() -> bytes:
        raise error

    def handler(payload: bytes) -> bytes | Awaitable[bytes]:
        if payload == b"good":
            return payload
        if awaited:
            return later()
        raise error

    async with served(peer, handler) as theirs:
        theirs.send(request(1))
        got = await frame_of(theirs)
        assert got is not None
        assert got[5 : 6 + len(code)] == bytes([len(code)]) + code
        theirs.send(request(2, b"good"))
        assert await frame_of(theirs) == answer(2, b"good")[4:]


@pytest.mark.covers("REQ-6", "REQ-14")
async def test_its_answer_counts_until_it_is_sent(peer: Peer) -> None:
    """And has its id until then; a cancel comes too late."""
    handled: list[bytes] = []

    def handler(payload: bytes) -> bytes:
        handled.append(payload)
        return bytes(_LARGE)

    async with served(peer, handler, concurrency=1) as theirs:
        theirs.send(request(1, b"a") + request(2, b"b") + cancel(1) + cancel(2))
        assert await frame_of(theirs) == answer(1, bytes(_LARGE))[4:]
        cancelled = await frame_of(theirs)
        assert cancelled is not None
        assert cancelled[:15] == bytes.fromhex("1300000002") + b"\x09cancelled"
        theirs.send(request(1, b"c"))
        assert await frame_of(theirs) == answer(1, bytes(_LARGE))[4:]
    assert handled == [b"a", b"c"]


async def test_it_is_called_in_the_order_of_requests(
    pair: tuple[IPCChannelClient, IPCChannelClient],
) -> None:
    left, right = RequestChannel(pair[0], max_open=100), RequestChannel(pair[1])
    handled: list[bytes] = []

    def handler(payload: bytes) -> bytes:
        handled.append(payload)
        return payload

    serving = asyncio.create_task(right.serve(handler))
    payloads = [b"%d" % number for number in range(1000)]
    assert await asyncio.gather(*map(left.call, payloads)) == payloads
    assert handled == payloads
    await pair[0].close()
    await serving


class UntoldRequestError(RequestError):
    """Its text cannot be told."""

    def __str__(self) -> str:
        raise ZeroDivisionError("no text")


class UncodedRequestError(RequestError):
    """Its code is none."""

    def __init__(self) -> None:
        super().__init__("uncoded")
        self.code = None  # type: ignore[assignment]


@pytest.mark.parametrize("error", [UntoldRequestError, UncodedRequestError])
@pytest.mark.parametrize("awaited", [False, True])
async def test_an_error_that_cannot_be_told_is_answered(
    peer: Peer, error: type[Exception], *, awaited: bool
) -> None:
    async def later(_: bytes) -> bytes:
        raise error

    def handler(_: bytes) -> bytes:
        raise error

    async with served(peer, later if awaited else handler) as theirs:
        for number in (1, 2):
            theirs.send(request(number))
            got = await frame_of(theirs)
            assert got is not None
            assert got[:12] == bytes.fromhex(f"130000000{number}") + b"\6failed"
