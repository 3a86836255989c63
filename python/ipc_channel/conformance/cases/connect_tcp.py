"""How the testee finds its server over TCP."""

from __future__ import annotations

import sys
import time

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.trial import Trial

_TCP = ("tcp",)


@case("connect/tcp/one-connection", "RDV-43", transports=_TCP)
async def one_connection(t: Trial) -> None:
    """Connecting makes one connection, not several."""
    await t.meet()
    await t.settle()
    t.expect(not await t.server.is_visited(), "connections made", 1, "more")


@case("connect/tcp/stays-until-accepted", "RDV-48", level="SHOULD", transports=_TCP)
async def stays(t: Trial) -> None:
    """A client that is done stays until the server has accepted it, or it is nobody's."""
    connecting = await t.connecting(timeout=t.patience)
    await t.connected(connecting)
    await t.do("write", **write(10))
    closing = t.begin("close")
    for _ in range(5):
        await t.settle()
    early = closing.reply.done()
    peer = await t.accept()
    await peer.expect_message(payload(10))
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    t.expect(not early, "close before the server has accepted", "waits", "done")


@case("connect/tcp/reset-at-once", "RDV-49", transports=_TCP)
async def reset_at_once(t: Trial) -> None:
    """A server that resets whom it does not want is the end reset."""
    connecting = await t.connecting(timeout=t.patience)
    peer = await t.accept()
    await t.connected(connecting)
    peer.reset()
    await t.reads_error("reset", "reset")


@case("connect/tcp/full-queue", "RDV-9", transports=_TCP)
async def full_queue(t: Trial) -> None:
    """A server that listens, but whose queue is full, does not keep it beyond the timeout."""
    if sys.platform != "linux":
        t.skip("other systems refuse a connection for which the queue has no room")
    held = await t.server.fill_queue()
    for seconds in (0.3, 0):
        start = time.monotonic()
        await t.fail("timeout", "connect", **t.paths(), timeout=seconds)
        took = time.monotonic() - start
        t.expect(took >= seconds, "the time until it gave up", f">= {seconds} s", took)
        late = seconds + t.patience / 2
        t.expect(took < late, "the time until it gave up", f"{seconds} s", took)
    held.close()
