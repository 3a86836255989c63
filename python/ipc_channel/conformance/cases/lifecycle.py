"""Closing in every state: what it sends, what it frees, and the next session."""

from __future__ import annotations

import contextlib
import socket
import time

from ipc_channel.conformance.case import CaseFailedError, case, over
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire

_LARGE = 20 * 2**20


@case("lifecycle/close/twice", "SES-26", "SES-30")
async def twice(t: Trial) -> None:
    """Closing twice is legal, and a write after it fails with closed."""
    peer = await t.meet()
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    await t.do("close")
    await t.fail("closed", "write", **write(1))


@case("lifecycle/close/after-the-peer", "SES-30")
async def after_the_peer(t: Trial) -> None:
    """Closing after the peer has gone succeeds."""
    peer = await t.meet()
    await peer.send(frame(b"bye") + bytes(4))
    peer.close()
    await t.reads(b"bye")
    await t.reads_end("clean")
    await t.do("close")


@case("lifecycle/close/sends-everything", "SES-31")
async def sends_everything(t: Trial) -> None:
    """Messages written before close arrive, and then the close frame."""
    peer = await t.meet()
    sizes = [1, 70_000, 5000]
    writing = t.begin("write", **write(*sizes, count=60))
    for number in range(59):
        await peer.expect_message(payload(sizes[number % 3]))
    t.check_ok(await t.answer(writing), "write")
    closing = t.begin("close")
    await t.settle()
    await peer.expect_message(payload(sizes[59 % 3]))
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


@case(
    "lifecycle/close/unread-input",
    "SES-35",
    "SES-60",
    transports=over(drains_before_close=True),
)
async def unread_input(t: Trial) -> None:
    """Unread input of the closing end does not cost the peer any output sent to it."""
    peer = await t.meet()
    await peer.send_until_stuck(frame(bytes(1000)) * 20_000, silence=0.2)
    await t.do("write", **write(1000, count=50))
    closing = t.begin("close")
    await t.settle()
    for _ in range(50):
        await peer.expect_message(payload(1000))
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


@case(
    "lifecycle/close/peer-that-talks-on",
    "SES-60",
    transports=over(drains_before_close=True),
)
async def talks_on(t: Trial) -> None:
    """A peer that still sends while the testee closes loses nothing that was sent to it."""
    peer = await t.meet()
    if peer.sock is not None:  # so that much output waits in the testee's kernel
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writing = t.begin("write", **write(1000, count=300))
    await peer.expect_message(payload(1000))
    closing = None
    for number in range(1, 300):
        if closing is None and writing.reply.done():
            closing = t.begin("close")
            await t.settle()
            with contextlib.suppress(BrokenPipeError):  # the testee may stop reading
                await peer.send(frame(b"and on") * 100)
            await t.settle()
            if peer.sock is not None:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        await peer.expect_message(payload(1000))
        if number == 1:
            await t.settle()
    t.check_ok(await t.answer(writing), "write")
    closing = closing or t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


@case("lifecycle/close/unread-messages", "SES-2", "SES-33", "SES-41")
async def unread_messages(t: Trial) -> None:
    """Unread messages are dropped with the channel, and do not appear in the next one."""
    peer = await t.meet()
    await peer.send(frame(b"read") + frame(b"unread") * 3)
    await t.reads(b"read")
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    reply = await t.tell("read")
    t.expect(
        reply.get("end") == "local" and reply.get("error") in (None, "closed"),
        "a read after the own close",
        "the end 'local', maybe with the error 'closed'",
        reply,
    )
    t.renew()
    peer = await t.meet()
    await peer.send(frame(b"of the next session"))
    await t.reads(b"of the next session")


@case("lifecycle/close/peer-that-goes-on-writing", "SES-34", needs="concurrent")
async def peer_writes(t: Trial) -> None:
    """A peer that is blocked in a write of its own still gets everything."""
    # Until the peer's write ends, the testee's own output does not progress, so the
    # linger keeps running; how long that takes depends on the machine.
    peer = await t.meet(linger=3 * t.patience)
    size = 3_000_000
    writing = t.begin("write", **write(size))
    stuck = t.spawn(peer.send(frame(bytes(_LARGE))))
    await t.settle()
    closing = t.begin("close")
    try:
        await stuck
    except OSError:
        raise CaseFailedError(
            "a peer that wrote as the testee closed",
            "is read and dropped",
            "lost its reader",
        ) from None
    await peer.expect_message(payload(size))
    await peer.expect_close()
    peer.close()
    await t.answer(writing)
    t.check_ok(await t.answer(closing), "close")


@case("lifecycle/close/stuck-peer", "SES-31", "SES-36", needs="concurrent linger")
async def stuck_peer(t: Trial) -> None:
    """After the linger, close gives up a peer that takes nothing; sends no close frame."""
    peer = await t.meet(linger=0.2)
    writing = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    start = time.monotonic()
    closing = t.begin("close")
    t.check_ok(await t.answer(closing), "close")
    took = time.monotonic() - start
    t.expect(took >= 0.2, "the time it waited", ">= 0.2 s", took)
    t.check_error(await t.answer(writing), "closed", "write")
    got = await peer.receive_until_end(int.from_bytes(header, "big"))
    t.expect(
        len(got) < _LARGE and payload(_LARGE).startswith(got),
        "what the peer got of the frame",
        "a part of it and nothing else",
        f"{len(got)} bytes",
    )


@case("lifecycle/close/wakes-a-reader", "SES-33", needs="concurrent")
async def wakes_reader(t: Trial) -> None:
    """A waiting read ends when the channel is closed."""
    peer = await t.meet()
    reading = t.begin("read")
    await t.settle()
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    reply = await t.answer(reading)
    t.expect(
        reply.get("end") == "local" and reply.get("error") in (None, "closed"),
        "a read that waited as the channel was closed",
        "the end 'local', or the error 'closed'",
        reply,
    )


@case("lifecycle/close/frees-descriptors", "SES-32")
async def frees(t: Trial) -> None:
    """After twenty sessions the process has as many descriptors open as after the first."""
    before: list[str] = []
    for number in range(20):
        peer = await t.meet()
        await peer.send(frame(payload(100)))
        await t.reads(payload(100))
        closing = t.begin("close")
        await peer.expect_close()
        peer.close()
        t.check_ok(await t.answer(closing), "close")
        t.renew()
        if number == 0:
            before = t.descriptors()
    await t.no_more_descriptors_than(before)


@case("lifecycle/exit/idle", "SES-32")
async def exits_idle(t: Trial) -> None:
    """A testee that has closed its channel exits by itself."""
    peer = await t.meet()
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


@case("lifecycle/exit/connected", "SES-4")
async def exits_connected(t: Trial) -> None:
    """A testee that exits while connected ends its stream at a frame boundary."""
    peer = await t.meet()
    await t.do("write", **write(10))
    finishing = t.spawn(t.finish_testee())
    await peer.expect_message(payload(10))
    await _expect_close_or_end(t, peer)
    peer.close()
    await finishing


@case("lifecycle/exit/waiting-read", "SES-33", needs="concurrent")
async def exits_reading(t: Trial) -> None:
    """At the end of its input a testee cancels a waiting read, closes and exits."""
    peer = await t.meet()
    reading = t.begin("read")
    await t.settle()
    finishing = t.spawn(t.finish_testee())
    await _expect_close_or_end(t, peer)
    peer.close()
    await finishing
    t.expect(reading.reply.done(), "a read at the end of input", "answered", "left alone")


@case("lifecycle/exit/waiting-write", "SES-33", needs="concurrent linger")
async def exits_writing(t: Trial) -> None:
    """At the end of its input a testee cancels a blocked write, closes and exits."""
    peer = await t.meet(linger=0.2)
    writing = t.begin("write", **write(_LARGE))
    await peer.receive(4)
    await t.finish_testee()
    t.expect(writing.reply.done(), "a write at the end of input", "answered", "left alone")


@case("lifecycle/exit/waiting-connect", "RDV-10", needs="concurrent")
async def exits_connecting(t: Trial) -> None:
    """At the end of its input a testee cancels a waiting connect, and exits."""
    connecting = t.begin("connect", **await t.absent(), timeout=3 * t.patience)
    await t.settle()
    await t.finish_testee()
    t.expect(
        connecting.reply.done(), "a connect at the end of input", "answered", "left alone"
    )


async def _expect_close_or_end(t: Trial, peer: Wire) -> None:
    got = await peer.receive_until_end(5)
    t.expect(
        got in (b"", bytes(4)), "the last bytes", "a close frame or nothing", got.hex()
    )
