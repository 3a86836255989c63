"""How the tasks of handlers begin, wait and end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import raw
import waiting
from ipc_channel import (
    BadMessageError,
    PeerError,
    RequestChannel,
    serve,
)
from ipc_channel.aio import handling
from ipc_channel.aio.eager import start_task
from ipc_channel.conformance.raw_peer import CLOSE
from requesting import Peer, answer, cancel, frame_of, request, served

_LARGE = 20 * 2**20  # bytes: more than all buffers between the ends hold


async def test_a_plain_handler_may_end_the_session(peer: Peer) -> None:
    ours, theirs = peer

    def handler(payload: bytes) -> bytes:
        ours.abort()
        return payload

    serving = asyncio.create_task(serve(ours, handler))
    theirs.send(request(1) + request(2))
    await serving


@pytest.mark.parametrize("awaited", [False, True])
async def test_the_session_ends_while_an_answer_waits(peer: Peer, *, awaited: bool) -> None:
    async def later(_: bytes) -> bytes:
        return bytes(_LARGE)

    ours, theirs = peer
    handler = later if awaited else lambda _: bytes(_LARGE)
    serving = asyncio.create_task(serve(ours, handler))
    theirs.send(request(1))
    await waiting.until_taken(ours)
    theirs.close()
    with contextlib.suppress(PeerError):  # with pipes, just an end
        await serving
    assert not [one for one in asyncio.all_tasks() if "Handling" in repr(one)]
    gc.collect()  # tells of an exception that nobody has retrieved


async def test_an_answer_has_its_id_until_it_is_sent(peer: Peer) -> None:
    ours, theirs = peer
    serving = asyncio.create_task(serve(ours, lambda _: bytes(_LARGE)))
    theirs.send(request(1) + request(1))
    with pytest.raises(BadMessageError, match="request 1 is not answered yet"):
        await serving


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Get an item each time that something looks whether it can cancel a handler."""
    looks: list[int] = []
    cancel_now = handling._Running.cancel

    def counted(running: handling._Running) -> None:
        looks.append(1)
        cancel_now(running)

    monkeypatch.setattr(handling._Running, "cancel", counted)
    return looks


async def test_a_cancel_that_comes_too_late_costs_nothing(
    peer: Peer, looks: list[int]
) -> None:
    ours, _ = peer
    async with served(peer, lambda _: bytes(_LARGE)) as theirs:
        theirs.send(request(1) + cancel(1))
        await waiting.until_taken(ours)
        await raw.eventually(lambda: bool(looks))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(looks) == 1
        assert await frame_of(theirs) == answer(1, bytes(_LARGE))[4:]


async def test_a_plain_handler_holds_its_place_while_it_runs(peer: Peer) -> None:
    """Even if something that it starts at once reads the next request."""
    ours, theirs = peer
    requests = RequestChannel(ours, serves=True)
    call = asyncio.create_task(requests.call(b"?"))
    assert await frame_of(theirs) == request(1, b"?")[4:]
    theirs.send(request(1) + answer(1))
    await call
    at_once, most = 0, 0
    asked: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        await requests.call(b"!")

    def handler(payload: bytes) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if not asked:
            asked.add(start_task(asyncio.get_running_loop(), ask()))
        at_once -= 1
        return payload

    theirs.send(b"".join(request(number) for number in range(2, 6)))
    await waiting.until_taken(ours)
    serving = asyncio.create_task(requests.serve(handler, concurrency=1))
    got = {await frame_of(theirs) for _ in range(6)}
    assert got == {request(2, b"!")[4:], *(answer(number)[4:] for number in range(1, 6))}
    theirs.send(answer(2) + CLOSE)
    theirs.end_writing()
    await serving
    await asyncio.gather(*asked)
    assert most == 1


async def test_what_several_handlers_return_is_awaited_once(peer: Peer) -> None:
    """The second one fails, and the first one goes on."""
    go_on = asyncio.Event()

    async def later() -> bytes:
        await go_on.wait()
        return b"shared"

    shared = later()
    async with served(peer, lambda _: shared) as theirs:
        theirs.send(request(1) + request(2))
        failed = await frame_of(theirs)
        assert failed is not None
        assert failed[:12] == bytes.fromhex("1300000002") + b"\6failed"
        go_on.set()
        assert await frame_of(theirs) == answer(1, b"shared")[4:]


_CLOSED_LOOP = """
import asyncio, gc
from ipc_channel import (
    RequestChannel, make_ipc_channel, make_ipc_channel_client, serve
)
handled = []

def handler(payload):
    handled.append(payload)
    return asyncio.sleep(60) if payload == b"1" else payload

async def main():
    server = make_ipc_channel(transport="tcp")
    client = make_ipc_channel_client(server.out_path, server.in_path)
    await asyncio.gather(server.connect(60), client.connect(60))
    requests = RequestChannel(client)
    tasks = [asyncio.create_task(serve(server, handler, concurrency=1))]
    tasks += [asyncio.create_task(requests.call(one)) for one in (b"1", b"2", b"3")]
    while not handled:
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)  # others may be handled meanwhile, if there is a fault
    return tasks

loop = asyncio.new_event_loop()
tasks = loop.run_until_complete(main())
loop.close()
tasks.clear()
gc.collect()
print(handled, flush=True)
"""


def test_nothing_is_handled_once_the_loop_is_closed() -> None:
    """By the garbage collector, which closes what has not ended."""
    command = [sys.executable, "-c", _CLOSED_LOOP]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[b'1']\n", done.stderr


@pytest.mark.parametrize("kind", ["async", "awaitable", "sending"])
async def test_a_task_that_never_begins_leaves_nothing(
    peer: Peer, kind: str, looks: list[int]
) -> None:
    """As when all tasks are cancelled before a loop without eager tasks begins them."""
    ours, theirs = peer
    loop = asyncio.get_running_loop()
    begun: list[bytes] = []

    def make(
        loop: asyncio.AbstractEventLoop, work: Any, **options: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        if work.__qualname__.startswith("Handling.") and not cancelled:
            cancelled.append(task)
            task.cancel()
        return task

    async def handler(payload: bytes) -> bytes:
        begun.append(payload)
        return payload

    def plain(payload: bytes) -> Awaitable[bytes]:
        return handler(payload)

    cancelled: list[asyncio.Task[Any]] = []
    handlers: dict[str, Callable[[bytes], Any]] = {
        "async": handler,
        "awaitable": plain,
        "sending": lambda payload: bytes(_LARGE) if payload == b"1" else payload,
    }
    serving = asyncio.create_task(serve(ours, handlers[kind], concurrency=1))
    loop.set_task_factory(make)
    try:
        theirs.send(request(1, b"1") + cancel(1) + request(2, b"2"))
        got = await frame_of(theirs)
        while got is not None and got[:5] != answer(2)[4:]:
            got = await frame_of(theirs)  # what is on its way is sent nevertheless
        assert got == answer(2, b"2")[4:]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(looks) < 10
        theirs.send(CLOSE)
        theirs.end_writing()
        await serving
    finally:
        loop.set_task_factory(None)
    assert b"1" not in begun
