"""The handler of the testees' ``serve`` (spec/conformance.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ipc_channel.errors import RequestError


async def handle(payload: bytes, call: Callable[[bytes], Awaitable[bytes]]) -> bytes:
    """Do what the first byte of ``payload`` says; ``call`` asks the other end."""
    kind, rest = payload[:1], payload[1:]
    if kind == b"c":
        return await call(rest)
    if kind == b"s":
        await call(rest)
    elif kind not in b"wi":
        return _answer(kind, rest)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if kind == b"i":
            return rest
        raise
    raise AssertionError("an event that nobody sets")


def handle_blocking(
    payload: bytes, call: Callable[[bytes], bytes], cancelled: Callable[[], bool]
) -> bytes:
    """Do the same in a thread; ``cancelled`` tells whether the caller has given up."""
    kind, rest = payload[:1], payload[1:]
    if kind == b"c":
        return call(rest)
    if kind == b"s":
        call(rest)
    elif kind not in b"wi":
        return _answer(kind, rest)
    while not cancelled():
        time.sleep(0.001)  # this handler stands for one that works
    if kind == b"i":
        return rest
    raise RequestError("the handler has seen the cancel", code="cancelled")


def _answer(kind: bytes, rest: bytes) -> bytes:
    if kind == b"e":
        return rest
    if kind == b"f":
        code, _, text = rest.decode().partition(" ")
        raise RequestError(text, code=code)
    if kind == b"t":
        raise RequestError("ä" * int(rest), code="e")
    if kind == b"l":
        return b"l" * int(rest)
    raise ValueError("told to fail")
