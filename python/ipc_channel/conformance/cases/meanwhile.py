"""Events between two system calls by which the testee detects its peer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, cast

from ipc_channel.conformance.case import case
from ipc_channel.conformance.cases.attempts import watched
from ipc_channel.conformance.cases.connect_pipes import read_first
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.raw_server import RawListener
from ipc_channel.conformance.syscalls import Call, Watch
from ipc_channel.conformance.testee import Pending
from ipc_channel.conformance.trial import Trial

_PIPES = ("named_pipe",)
_MOMENTS = 8  # more than the calls between a connection and its detection


async def _at_a_read(t: Trial, watch: Watch, act: Callable[[], int | None]) -> None:
    """Act once, just before the testee reads its `in`; the read returns act's result."""
    path = t.paths()["in"]
    done = asyncio.Event()

    def before(call: Call) -> int | None:
        if done.is_set() or (call.kind, call.path) != ("read", path):
            return None
        done.set()
        return act()

    watch.before = before
    try:
        async with asyncio.timeout(t.patience / 2):
            await done.wait()
    except TimeoutError:
        t.skip(f"the suite cannot see how this client reads {path}")


@case("connect/pipes/reader-leaves-meanwhile", "RDV-28", level="SHOULD", transports=_PIPES)
async def reader_leaves(t: Trial) -> None:
    """A stray reader that leaves just before another opener writes is not the server."""
    watch = await watched(t, "read")
    connecting = await t.connecting(timeout=3 * t.patience)
    in_ = await read_first(t)
    opened: list[int] = []

    def leave() -> None:
        opened.append(os.open(t.server.testee_in, os.O_WRONLY | os.O_NONBLOCK))
        os.close(in_)

    try:
        await _at_a_read(t, watch, leave)
    finally:
        if not opened:
            os.close(in_)
    for _ in range(5):
        await t.settle()
    early = connecting.reply.done()
    reader = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    peer = t.adopt(reader, opened[0])
    await t.connected(connecting)
    t.expect(not early, "connect to a stray opener that only writes", "waits", "done")
    await peer.send(frame(b"both"))
    await t.reads(b"both")


@case("connect/pipes/last-words-after-a-read", "RDV-26", transports=_PIPES)
async def last_words(t: Trial) -> None:
    """If a server writes and leaves right after an empty read, its messages arrive."""
    watch = await watched(t, "read")
    peer = await t.meet()
    reading = t.begin("read")
    await t.settle()

    def speak_and_leave() -> int:
        """Write and leave right after the read, which has found no writer."""
        out = os.open(t.server.testee_in, os.O_WRONLY | os.O_NONBLOCK)
        os.write(out, frame(b"last words") + CLOSE)
        os.close(out)
        peer.close()
        return 0

    peer.end_writing()
    await _at_a_read(t, watch, speak_and_leave)
    reply = t.check_ok(await t.answer(reading, "the message"), "read")
    t.check_message(reply, b"last words")
    await t.reads_end("clean")


@case("connect/tcp/reset-before-it-looks", "RDV-49", transports=("tcp",))
async def reset_before_it_looks(t: Trial) -> None:
    """A client that is reset before it detects its connection reports that, or retries."""
    watch = await watched(t, "ask")
    for moment in range(_MOMENTS):
        t.trace.add(f"--- moment {moment}")
        reset = _reset_at(t, watch, moment)
        connecting = await t.connecting(timeout=t.patience)
        waiting = t.spawn(reset.wait())
        either: set[asyncio.Future[Any]] = {connecting.reply, waiting}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not reset.is_set():
            if moment == 0:
                t.skip("the suite cannot see what this client asks about its socket")
            await t.connected(connecting)
            await t.accept()  # or the testee's close would wait for that
            return
        await _tells_or_tries_again(t, connecting)
        await t.do("close")


def _reset_at(t: Trial, watch: Watch, moment: int) -> asyncio.Event:
    """Make the server write and reset just before a call of the testee on its socket."""
    done = asyncio.Event()
    calls: list[Call] = []
    server = cast(RawListener, t.server)

    def before(call: Call) -> None:
        if done.is_set() or call.kind not in ("ask", "no_delay"):
            return
        calls.append(call)
        if len(calls) > moment and server.reset_visitor(frame(b"first")):
            done.set()

    watch.before = before
    return done


async def _tells_or_tries_again(t: Trial, connecting: Pending) -> None:
    accepting = t.spawn(t.accept())
    either: set[asyncio.Future[Any]] = {connecting.reply, accepting}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    await t.settle()  # a second connection may have made it connected
    await t.connected(connecting)
    if accepting.done():
        peer = await accepting
        await peer.send(frame(b"again"))
        await t.reads(b"again")
        peer.close()
        return
    accepting.cancel()
    await t.reads(b"first")
    await t.reads_error("reset", "reset")
