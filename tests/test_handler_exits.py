"""What handlers of requests raise beyond errors: each request has an end all the same."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

import raw
from ipc_channel import Helper, RequestChannel, RequestError, UnansweredError

SYNC = """
import sys
from ipc_channel.sync import run_helper, serve

class Bad(Exception):
    def __str__(self):
        raise ZeroDivisionError

def handler(payload):
    if payload == b"exit":
        sys.exit(7)
    if payload == b"Ctrl-C":
        raise KeyboardInterrupt
    if payload == b"bad":
        raise Bad
    return payload

def main(channel):
    serve(channel, handler, concurrency={concurrency})

run_helper(main)
"""
ASYNC = """
import asyncio
import sys
from ipc_channel import run_helper, serve

class Bad(Exception):
    def __str__(self):
        raise ZeroDivisionError

async def handler(payload):
    {wait}
    if payload == b"exit":
        sys.exit(7)
    if payload == b"Ctrl-C":
        raise KeyboardInterrupt
    if payload == b"bad":
        raise Bad
    return payload

async def main(channel):
    await serve(channel, handler)

run_helper(main)
"""
PROGRAMS = {
    "one thread": SYNC.format(concurrency=1),
    "threads": SYNC.format(concurrency=3),
    "at once": ASYNC.format(wait=""),
    "plain": ASYNC.format(wait="").replace("async def handler", "def handler"),
    "later": ASYNC.format(wait="await asyncio.sleep(0.01)"),
}


@pytest.mark.parametrize("how", [b"exit", b"Ctrl-C"])
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_handler_that_exits_ends_the_helper(program: str, how: bytes) -> None:
    helper = Helper(
        [sys.executable, "-c", PROGRAMS[program]], stderr="discard", check=False
    )
    async with helper as channel:
        requests = RequestChannel(channel)
        assert await requests.call(b"x") == b"x"
        calls = [requests.call(how), requests.call(how), requests.call(how)]
        results = await asyncio.wait_for(
            asyncio.gather(*calls, return_exceptions=True), raw.PATIENCE
        )
        assert UnansweredError in map(type, results)
    assert helper.result is not None
    assert helper.result.status == (7 if how == b"exit" else -signal.SIGINT)
    said = () if how == b"exit" else ("KeyboardInterrupt",)
    assert helper.result.last_lines[-1:] == said


@pytest.mark.covers("REQ-9")
@pytest.mark.parametrize("program", PROGRAMS)
async def test_an_exception_that_has_no_text_is_answered(program: str) -> None:
    helper = Helper([sys.executable, "-c", PROGRAMS[program]], stderr="discard")
    async with helper as channel:
        requests = RequestChannel(channel)
        with pytest.raises(RequestError, match="Bad: its text cannot be told") as caught:
            await requests.call(b"bad", raw.PATIENCE)
        assert caught.value.code == "failed"
        assert await requests.call(b"x") == b"x"
