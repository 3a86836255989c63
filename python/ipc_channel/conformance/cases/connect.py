"""How the testee connects to its server, waits for it, or times out."""

from __future__ import annotations

import asyncio
import os
import time

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire


@case("connect/server-first", "RDV-9")
async def server_first(t: Trial) -> None:
    """A testee connects to a server that is there already, and both directions work."""
    accepting = t.spawn(t.accept())
    await t.settle()
    connecting = await t.connecting(timeout=t.patience)
    peer = await accepting
    await t.connected(connecting)
    await peer.send(frame(b"down"))
    await t.reads(b"down")
    await t.do("write", **write(2))
    await peer.expect_message(payload(2))


@case("connect/client-first", "RDV-9", "RDV-12")
async def client_first(t: Trial) -> None:
    """A client that starts before its server waits for it."""
    connecting = t.begin("connect", **await t.absent(), timeout=t.patience)
    await t.settle()
    t.expect(not connecting.reply.done(), "connect without a server", "waits", "done")
    t.appear()
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"at last"))
    await t.reads(b"at last")


@case("connect/timeout", "RDV-9")
async def timeout(t: Trial) -> None:
    """Without a server, connect fails at the timeout, not earlier; nothing stays open."""
    absent = await t.absent()
    before = t.descriptors()
    for seconds in (0.3, 0):
        start = time.monotonic()
        await t.fail("timeout", "connect", **absent, timeout=seconds)
        took = time.monotonic() - start
        t.expect(took >= seconds, "the time until it gave up", f">= {seconds} s", took)
        late = seconds + t.patience / 2
        t.expect(took < late, "the time until it gave up", f"{seconds} s", took)
    await t.no_more_descriptors_than(before)


@case("connect/after-a-timeout", "RDV-10")
async def after_timeout(t: Trial) -> None:
    """After a timeout the next attempt works."""
    await t.fail("timeout", "connect", **await t.absent(), timeout=0.05)
    t.appear()
    peer = await t.meet()
    await peer.send(frame(b"second try"))
    await t.reads(b"second try")


@case("connect/silent-server", "RDV-26")
async def silent_server(t: Trial) -> None:
    """A server that is silent for a while has not ended the session."""
    peer = await t.meet()
    reading = t.begin("read")
    await asyncio.sleep(0.3)
    t.expect(not reading.reply.done(), "a read from a silent server", "waits", "done")
    await peer.send(frame(b"finally"))
    t.check_message(t.check_ok(await t.answer(reading), "read"), b"finally")


@case("connect/came-wrote-and-left", "RDV-25", "SES-2")
async def came_and_left(t: Trial) -> None:
    """Messages of a server that has left since are delivered."""
    peer = await t.meet()
    await peer.send(frame(b"I was here") + CLOSE)
    peer.close()
    await t.settle()
    await t.reads(b"I was here")
    await t.reads_end("clean")


@case("connect/at-once", "RDV-9")
async def at_once(t: Trial) -> None:
    """A timeout of 0 finds a server that is there already."""
    if t.kind.single_stream:
        await t.do("connect", **t.paths(), timeout=0)
        peer = await t.accept()
    else:
        peer = _there_already(t)
        await t.do("connect", **t.paths(), timeout=0)
    await peer.send(frame(b"found"))
    await t.reads(b"found")


def _there_already(t: Trial) -> Wire:
    """Open both pipes before the testee connects; that takes a reader for a moment."""
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    reader = os.open(t.server.testee_in, os.O_RDONLY | os.O_NONBLOCK)
    out = os.open(t.server.testee_in, os.O_WRONLY | os.O_NONBLOCK)
    os.close(reader)
    return t.adopt(in_, out)


@case("connect/ends-the-one-before", "SES-32", "SES-41")
async def ends_the_one_before(t: Trial) -> None:
    """A connect while a channel is open ends that channel as close does."""
    before = await t.meet()
    t.renew()
    connecting = await t.connecting(timeout=t.patience)
    await before.expect_close()
    before.close()
    peer = await t.come(connecting, t.accept())
    await t.connected(connecting)
    await peer.send(frame(b"of the second"))
    await t.reads(b"of the second")
