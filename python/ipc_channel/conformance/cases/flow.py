"""Backpressure, and concurrent readers and writers."""

from __future__ import annotations

import os

from ipc_channel.conformance.case import CaseFailedError, case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.trial import Trial

_MUCH = 100 * 2**20  # bytes: more than all buffers between the ends hold
_SPARE = 64 * 2**20  # bytes that may be buffered, or taken as memory


_LARGE = 20 * 2**20  # bytes: more than any buffer of the system


@case("flow/write-waits", "SES-22")
async def write_waits(t: Trial) -> None:
    """A write waits while the peer does not read, and buffers no more than a little."""
    peer = await t.meet()
    await t.do("write", **write(1))
    before = t.memory()
    size = 2**16
    writing = t.begin("write", **write(size, count=_MUCH // size))
    await peer.expect_message(payload(1))
    await peer.expect_message(payload(size))
    for _ in range(20):
        await t.settle()
        waits = not writing.reply.done()
        t.expect(waits, "a write to a peer that does not read", "waits", "done")
    grown = t.memory() - before
    t.expect(grown < _SPARE, "memory taken meanwhile", f"< {_SPARE} bytes", grown)
    for _ in range(_MUCH // size - 1):
        await peer.expect_message(payload(size))
    t.check_ok(await t.answer(writing), "write")


@case("flow/read-ahead-is-bounded", "SES-12")
async def read_ahead(t: Trial) -> None:
    """While the testee gets no read requests, the peer's writes block."""
    peer = await t.meet()
    await peer.send(frame(b"read"))
    await t.reads(b"read")  # some clients begin to read ahead only then
    message = frame(payload(2**16))
    sent = await peer.send_until_stuck(message * (_MUCH // 2**16), silence=0.5)
    if sent > _SPARE:
        raise CaseFailedError("read ahead of a reader", f"< {_SPARE} bytes", sent)


@case("flow/slow-reader", "SES-22", "SES-21")
async def slow_reader(t: Trial) -> None:
    """A message that the peer reads in small pieces, much later, arrives whole."""
    peer = await t.meet()
    size = 3_000_000
    writing = t.begin("write", **write(size))
    await t.settle()
    header = await peer.receive(4)
    t.expect(header == size.to_bytes(4, "big"), "the header", size, header.hex(" "))
    got = b""
    while len(got) < size:
        part = await peer.receive(min(10_000, size - len(got)))
        if not part:
            break
        got += part
    t.expect(got == payload(size), "the payload", "as it was written", f"{len(got)} bytes")
    t.check_ok(await t.answer(writing), "write")


@case("flow/write-in-parts", "FRM-2", "SES-21", transports=("named_pipe",))
async def write_in_parts(t: Trial) -> None:
    """A write that a full pipe has interrupted near its end continues at the right byte."""
    peer = await t.meet()
    page = os.sysconf("SC_PAGE_SIZE")
    for left in range(1, 9):
        for before in (0, page):  # bytes that are in the pipe already
            full = peer.capacity()  # some testees enlarge it
            sizes = [*([before - 4] if before else []), full - before + left - 4]
            writing = t.begin("write", **write(*sizes))
            await t.in_time(peer.holds(full), "filled the pipe")
            for size in sizes:
                await peer.expect_message(payload(size))
            t.check_ok(await t.answer(writing), "write")


@case("flow/both-ways-large", "SES-22", needs="concurrent")
async def both_ways(t: Trial) -> None:
    """Two large messages that cross do not wait for each other."""
    peer = await t.meet()
    size = 3_000_000
    writing = t.begin("write", **write(size))
    peer.deliver(frame(payload(size)))
    reading = t.begin("read")
    await peer.expect_message(payload(size))
    t.check_message(t.check_ok(await t.answer(reading), "read"), payload(size))
    t.check_ok(await t.answer(writing), "write")


@case("flow/concurrent-writers", "SES-20", needs="concurrent")
async def concurrent_writers(t: Trial) -> None:
    """Frames of ten concurrent writers do not interleave."""
    peer = await t.meet()
    size = 100_000
    patterns = [bytes([number]) for number in range(1, 11)]
    writes = [t.begin("write", **write(size, pattern=one)) for one in patterns]
    left = {one * size for one in patterns}
    for _ in patterns:
        message = await peer.receive_frame() or b""
        if message not in left:
            raise CaseFailedError(
                "a frame of ten that were written at once",
                "one of them",
                f"{len(message)} bytes with {len(set(message))} different values",
            )
        left.remove(message)
    for one in writes:
        t.check_ok(await t.answer(one), "write")


@case("flow/thousands-of-writers", "SES-20", "SES-22", needs="concurrent")
async def thousands_of_writers(t: Trial) -> None:
    """Thousands of small messages that wait behind a large one go out whole."""
    peer = await t.meet()
    writes = [t.begin("write", **write(_LARGE))]
    await peer.receive(4)
    # More than a system takes buffers in one call (IOV_MAX, usually 1,024).
    writes += [t.begin("write", **write(10)) for _ in range(2500)]
    await peer.send(frame(b"read after them"))
    await t.reads(b"read after them")
    large = await peer.receive(_LARGE)
    t.expect(large == payload(_LARGE), "the large message", "whole", "something else")
    for _ in writes[1:]:
        await peer.expect_message(payload(10))
    for one in writes:
        t.check_ok(await t.answer(one), "write")


@case("flow/two-readers", "SES-11", needs="concurrent")
async def two_readers(t: Trial) -> None:
    """Of two waiting reads, each gets one message."""
    peer = await t.meet()
    readers = [t.begin("read") for _ in range(2)]
    await t.settle()
    messages = {b"first", b"second"}
    await peer.send(b"".join(map(frame, sorted(messages))))
    sizes = set()
    for one in readers:
        reply = t.check_ok(await t.answer(one), "read")
        sizes.add((reply.get("message") or {}).get("size"))
    t.expect(sizes == {5, 6}, "the sizes of the messages of two reads", {5, 6}, sizes)
