"""How the testee connects to its server over TCP."""

from __future__ import annotations

import sys
import time

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.trial import Trial

_TCP = ("tcp",)


@case("connect/tcp/one-connection", "RDV-43", transports=_TCP)
async def one_connection(t: Trial) -> None:
    """A connect makes exactly one connection."""
    await t.meet()
    await t.settle()
    t.expect(not await t.server.is_visited(), "connections made", 1, "more")


@case("connect/tcp/stays-until-accepted", "RDV-48", level="SHOULD", transports=_TCP)
async def stays(t: Trial) -> None:
    """A client does not close its socket before the server has accepted the connection."""
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
    """A client that the server resets at once reports the end reset."""
    connecting = await t.connecting(timeout=t.patience)
    peer = await t.accept()
    await t.connected(connecting)
    peer.reset()
    await t.reads_error("reset", "reset")


@case("connect/tcp/full-queue", "RDV-9", transports=_TCP)
async def full_queue(t: Trial) -> None:
    """A listening server with a full queue does not delay connect beyond its timeout."""
    if sys.platform != "linux":
        t.skip("other systems refuse a connection when the queue is full")
    held = await t.server.fill_queue()
    with held:
        for seconds in (0.3, 0):
            start = time.monotonic()
            await t.fail("timeout", "connect", **t.paths(), timeout=seconds)
            took = time.monotonic() - start
            t.expect(took >= seconds, "the time until it gave up", f">= {seconds} s", took)
            late = seconds + t.patience / 2
            t.expect(took < late, "the time until it gave up", f"{seconds} s", took)


@case("connect/tcp/no-network", "RDV-11", transports=_TCP)
async def no_network(t: Trial) -> None:
    """An address that this system cannot use is refused at once (ENETUNREACH)."""
    if sys.platform != "linux":
        t.skip("only Linux has network namespaces")
    paths = t.paths()
    await t.restart_without_network()
    await t.fail("bad-rendezvous", "connect", **paths, timeout=2 * t.patience)
