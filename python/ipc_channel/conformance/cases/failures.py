"""System calls that fail with an error that the specification does not name."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from ipc_channel.conformance.case import case, over
from ipc_channel.conformance.cases.attempts import watched
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.syscalls import Call, Kind, behind
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire

_TRIES = 3


@dataclass
class _Failing:
    """Makes the testee's calls of one kind on its connection fail, from :meth:`begin` on."""

    kind: Kind
    paths: tuple[str, ...]
    """What leads to the connection: its address, or the paths of its pipes."""
    connection: set[str] = field(default_factory=set)
    count: int = 0
    is_on: bool = False

    def before(self, call: Call) -> int | None:
        if call.kind == "connect" and call.path in self.paths:
            self.connection.add(behind(call.thread, call.descriptor))
        known = call.path in self.connection or call.path in self.paths
        if not (self.is_on and known and call.kind == self.kind):
            return None
        self.count += 1
        return -errno.EIO


def _addresses(t: Trial) -> tuple[str, ...]:
    """Return what the testee's calls name as they reach for its server."""
    if t.transport == "tcp":
        return ("",)
    return tuple(path.removeprefix("unix:") for path in t.paths().values())


async def _meet(t: Trial, kind: Kind) -> tuple[Wire, _Failing]:
    """Connect the testee, whose calls of this kind can be made to fail."""
    watch = await watched(t, kind)
    failing = _Failing(kind, _addresses(t))
    watch.before = failing.before
    peer = await t.meet()
    await peer.send(frame(b"first"))
    await t.reads(b"first")
    failing.is_on = True
    return peer, failing


@case(
    "connect/unknown-error",
    "RDV-14",
    level="SHOULD",
    transports=over(single_stream=True),
)
async def unknown_error(t: Trial) -> None:
    """A connect that fails with an error that no rule names is tried again."""
    watch = await watched(t)
    addresses = _addresses(t)
    failed: list[Call] = []

    def fail(call: Call) -> int | None:
        if call.kind != "connect" or call.path not in addresses or len(failed) == _TRIES:
            return None
        failed.append(call)
        return -errno.EHOSTUNREACH

    watch.before = fail
    connecting = await t.connecting(timeout=t.patience)
    peer = await t.come(connecting, t.accept())
    await t.connected(connecting)
    if not failed:
        t.skip("the suite cannot see how this client connects")
    await peer.send(frame(b"at last"))
    await t.reads(b"at last")


@case("ends/failed-read", "SES-5", "SES-26", "SES-36")
async def failed_read(t: Trial) -> None:
    """A read that fails with another error than a reset counts as a reset."""
    peer, failing = await _meet(t, "read")
    await peer.send(frame(b"lost"))
    reply = await t.tell("read")
    if "message" in reply:  # its call had begun before
        await t.settle()
        if not failing.count:
            t.skip("the suite cannot see how this client reads")
        reply = await t.tell("read")
    t.check_end(reply, "reset", "reset")
    reply = await t.tell("write", **write(5))
    if not t.kind.single_stream and "error" not in reply:  # the other pipe still works
        await peer.expect_message(payload(5))
        closing = t.begin("close")
        await peer.expect_close()
    else:
        t.check_error(reply, "reset", "write")
        closing = t.begin("close")
        await _sends_nothing(t, peer)
    peer.close()
    t.check_ok(await t.answer(closing), "close")


@case("flow/failed-write", "SES-24", "SES-26", "SES-36")
async def failed_write(t: Trial) -> None:
    """A write that fails with another error than a reset finds the peer gone."""
    peer, failing = await _meet(t, "write")
    reply = await t.tell("write", **write(5))
    await t.settle()  # the call may follow the answer
    if not failing.count:
        t.skip("the suite cannot see how this client writes")
    if "error" in reply:
        t.check_error(reply, "peer-gone", "write")
    await t.fail("peer-gone", "write", **write(5))
    failing.is_on = False
    await peer.send(frame(b"still read"))
    await t.reads(b"still read")
    peer.end_writing()
    await t.reads_end("eof")
    await t.fail("peer-gone", "write", **write(5))
    closing = t.begin("close")
    await _sends_nothing(t, peer)
    peer.close()
    t.check_ok(await t.answer(closing), "close")


async def _sends_nothing(t: Trial, peer: Wire) -> None:
    got = await peer.receive_until_end(4)
    t.expect(got == b"", "what the testee sent after the failure", "nothing", got.hex())
