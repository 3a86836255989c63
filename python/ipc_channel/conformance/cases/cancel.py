"""Reads, writes, connects and closes that are cancelled."""

from __future__ import annotations

import os

from ipc_channel.conformance.case import CaseFailedError, case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.raw_server import has_writer
from ipc_channel.conformance.trial import Trial

_NEEDS = "cancel concurrent"
_LARGE = 20 * 2**20


async def _cancel_read(t: Trial, cancels: int = 1) -> None:
    for _ in range(cancels):
        reading = t.begin("read")
        await t.settle()
        await t.do("cancel", of=reading.id)
        t.check_error(await t.answer(reading), "cancelled", "read")


@case("cancel/read/idle", "SES-10", needs=_NEEDS)
async def idle(t: Trial) -> None:
    """A read that is cancelled while nothing arrives loses nothing."""
    peer = await t.meet()
    await _cancel_read(t)
    await peer.send(frame(b"next"))
    await t.reads(b"next")


@case("cancel/read/inside-header", "SES-10", needs=_NEEDS)
async def inside_header(t: Trial) -> None:
    """A read that is cancelled inside a header loses nothing of it."""
    peer = await t.meet()
    for cut in (1, 2, 3):
        wire = frame(b"cut")
        await peer.send(wire[:cut])
        await _cancel_read(t)
        await peer.send(wire[cut:])
        await t.reads(b"cut")


@case("cancel/read/inside-payload", "SES-10", needs=_NEEDS)
async def inside_payload(t: Trial) -> None:
    """A read that is cancelled inside a payload, small or large, loses nothing of it."""
    peer = await t.meet()
    for size in (10, 300_000):
        wire = frame(payload(size))
        await peer.send(wire[:9])
        await _cancel_read(t, 3)
        peer.deliver(wire[9:])
        await t.reads(payload(size))


@case("cancel/read/many", "SES-10", "SES-11", needs=_NEEDS)
async def many(t: Trial) -> None:
    """Reads that are cancelled while messages arrive neither lose nor repeat a message."""
    peer = await t.meet()
    count = 200
    peer.deliver(b"".join(frame(payload(number + 1)) for number in range(count)))
    got: list[int | None] = []
    while len(got) < count:
        reading = t.begin("read")
        cancelling = t.begin("cancel", of=reading.id)
        reply = await t.answer(reading)
        await t.answer(cancelling)
        if reply.get("error") == "cancelled":
            reply = await t.do("read")
        got.append((reply.get("message") or {}).get("size"))
    expected = list(range(1, count + 1))
    t.expect(got == expected, "the sizes of the messages read", "1 to 200", got)


@case("cancel/write/waiting", "SES-21", needs=_NEEDS)
async def waiting_write(t: Trial) -> None:
    """A blocked write that is cancelled is sent whole, or the session is closed."""
    peer = await t.meet()
    writing = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    await t.settle()
    await t.do("cancel", of=writing.id)
    await t.answer(writing)
    following = t.begin("write", **write(5))
    got = await peer.receive(int.from_bytes(header, "big"))
    if len(got) < _LARGE:
        return  # the session was closed, which tells the peer that output is missing
    t.expect(got == payload(_LARGE), "the payload", "as it was written", "something else")
    await peer.expect_message(payload(5))
    t.check_ok(await t.answer(following), "write")


@case("cancel/write/then-close", "SES-21", "SES-31", needs=_NEEDS)
async def then_close(t: Trial) -> None:
    """Closing completes a frame whose write was cancelled, unless the session is closed."""
    peer = await t.meet()
    writing = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    await t.settle()
    await t.do("cancel", of=writing.id)
    await t.answer(writing)
    following = t.begin("write", **write(5))
    await t.settle()
    if following.reply.done():
        return  # it fails at once, since the cancelled write has closed the session
    closing = t.begin("close")
    await t.settle()
    got = await peer.receive_until_end(int.from_bytes(header, "big"))
    t.expect(got == payload(_LARGE), "the frame, after close", "completed", len(got))
    last = await peer.receive_frame()
    if last == payload(5):  # it may have been accepted before close
        last = await peer.receive_frame()
    t.expect(last == b"", "what follows", "the close frame", "something else")
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    await t.answer(following)


@case("cancel/write/before-its-first-byte", "SES-21", needs=_NEEDS)
async def queued_write(t: Trial) -> None:
    """A write that is cancelled behind another one is sent whole or not at all."""
    peer = await t.meet()
    first = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    second = t.begin("write", **write(7))
    await t.settle()
    await t.do("cancel", of=second.id)
    third = t.begin("write", **write(9))
    got = await peer.receive(int.from_bytes(header, "big"))
    t.expect(got == payload(_LARGE), "the first payload", "as it was written", len(got))
    message = await peer.receive_frame()
    if message == payload(7):
        message = await peer.receive_frame()
    if message != payload(9):
        raise CaseFailedError(
            "what follows a cancelled write", "a message of 9 bytes", len(message or b"")
        )
    for one in (first, third):
        t.check_ok(await t.answer(one), "write")
    await t.answer(second)


@case("cancel/write/in-parts", "SES-21", needs=_NEEDS, transports=("named_pipe",))
async def write_in_parts(t: Trial) -> None:
    """A write cancelled with few bytes left is completed, or the session is closed."""
    for left in range(1, 6):
        peer = await t.meet()
        page = os.sysconf("SC_PAGE_SIZE")
        full = peer.capacity()
        await t.do("write", **write(page - 4))
        size = full - page + left - 4
        writing = t.begin("write", **write(size))
        await t.in_time(peer.holds(full), "filled the pipe")
        await t.settle()
        await t.do("cancel", of=writing.id)
        await t.answer(writing)
        await peer.expect_message(payload(page - 4))
        following = t.begin("write", **write(5))
        got = await peer.receive(4 + size)
        if len(got) == 4 + size:
            t.expect(
                got == frame(payload(size)), "the frame", "as written", "something else"
            )
            await peer.expect_message(payload(5))
            t.check_ok(await t.answer(following), "write")
        peer.close()
        await t.do("close")
        t.renew()


@case("cancel/connect", "RDV-10", needs=_NEEDS)
async def connect(t: Trial) -> None:
    """A connect that is cancelled leaves nothing open, and the next connect works."""
    absent = await t.absent()
    before = t.descriptors()
    connecting = t.begin("connect", **absent, timeout=t.patience)
    await t.settle()
    await t.do("cancel", of=connecting.id)
    t.check_error(await t.answer(connecting), "cancelled", "connect")
    await t.no_more_descriptors_than(before)
    t.appear()
    peer = await t.meet()
    await peer.send(frame(b"met after all"))
    await t.reads(b"met after all")


@case("cancel/connect-is-over", "RDV-10", needs=_NEEDS)
async def connect_is_over(t: Trial) -> None:
    """A cancelled connect stops trying, even when a server appears afterwards."""
    absent = await t.absent()
    connecting = t.begin("connect", **absent, timeout=3 * t.patience)
    await t.settle()
    await t.do("cancel", of=connecting.id)
    t.check_error(await t.answer(connecting), "cancelled", "connect")
    t.appear()
    for _ in range(10):  # longer than the pause between two attempts
        await t.settle()
        visited = await t.server.is_visited()
        t.expect(not visited, "connections after the cancel", "none", "the testee's")


@case("cancel/connect-half-way", "RDV-10", needs=_NEEDS, transports=("named_pipe",))
async def connect_half_way(t: Trial) -> None:
    """A connect that is cancelled with both pipes open closes both."""
    await t.fail("timeout", "connect", **t.paths(), timeout=0)
    before = t.descriptors()
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    try:
        connecting = await t.connecting(timeout=t.patience)
        await t.in_time(has_writer(in_), "opened its writing end")
        await t.settle()
        if connecting.reply.done():
            t.skip("this client takes a process that only reads for its server")
        await t.do("cancel", of=connecting.id)
        t.check_error(await t.answer(connecting), "cancelled", "connect")
        await t.no_more_descriptors_than(before)
    finally:
        os.close(in_)


@case("cancel/second-close", "SES-31", needs=f"{_NEEDS} linger")
async def second_close(t: Trial) -> None:
    """A cancelled close that waits for another one leaves that one alone."""
    peer = await t.meet(linger=3 * t.patience)
    writing = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    first, second = t.begin("close"), t.begin("close")
    await t.settle()
    await t.do("cancel", of=second.id)
    await t.settle()
    got = await peer.receive_until_end(int.from_bytes(header, "big"))
    t.expect(got == payload(_LARGE), "what the peer got", "the message", len(got))
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(first), "close")
    reply = await t.answer(second)
    if "error" in reply:
        t.check_error(reply, "cancelled", "close")
    await t.answer(writing)
