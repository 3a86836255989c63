"""Requests in states in which programs rarely make them (spec/conformance.md)."""

from __future__ import annotations

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import write
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.trial import Trial

_NO_CHANNEL = ("not-connected", "closed")


async def _is_refused(t: Trial) -> None:
    for request in ("read", "drain", "echo"):
        reply = await t.tell(request)
        t.expect(reply.get("error") in _NO_CHANNEL, request, _NO_CHANNEL, reply)
    reply = await t.tell("write", **write(1))
    t.expect(reply.get("error") in _NO_CHANNEL, "write", _NO_CHANNEL, reply)


@case("control/close-while-connecting", "SES-30", "RDV-10", needs="concurrent")
async def close_while_connecting(t: Trial) -> None:
    """Close cancels a waiting connect, and leaves nothing open."""
    absent = await t.absent()
    before = t.descriptors()
    connecting = t.begin("connect", **absent, timeout=2 * t.patience)
    await t.settle()
    await t.do("close")
    reply = await t.answer(connecting)
    codes = ("cancelled", "closed")
    t.expect(reply.get("error") in codes, "the connect", codes, reply)
    await t.no_more_descriptors_than(before)
    t.appear()
    peer = await t.meet()
    await peer.send(frame(b"met after all"))
    await t.reads(b"met after all")


@case("control/connect-while-connecting", "ERR-1", needs="concurrent")
async def connect_while_connecting(t: Trial) -> None:
    """A second connect fails with busy, and the first goes on; there is no channel yet."""
    connecting = t.begin("connect", **await t.absent(), timeout=t.patience)
    await t.settle()
    await t.fail("busy", "connect", **t.paths(), timeout=t.patience)
    await _is_refused(t)
    t.appear()
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"the first"))
    await t.reads(b"the first")


@case("control/no-channel", "ERR-1", "SES-30")
async def no_channel(t: Trial) -> None:
    """Before a connect, and after one that failed, there is no channel, but close is legal."""
    await _is_refused(t)
    await t.do("close")
    peer = await t.meet()
    await peer.send(bytes(4))
    await t.reads_end("clean")
    connecting = t.begin("connect", **{"in": "nowhere", "out": "nowhere"}, timeout=0)
    await peer.expect_close()
    peer.close()
    t.check_error(await t.answer(connecting), "bad-rendezvous", "connect")
    await _is_refused(t)
    await t.do("close")
