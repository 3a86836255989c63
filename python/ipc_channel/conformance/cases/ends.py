"""What reads and writes report at the end."""

from __future__ import annotations

import os
from typing import Any

from ipc_channel.conformance import vectors
from ipc_channel.conformance.case import Body, case, over
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.trial import Trial

_LARGE = 20 * 2**20


def _end(vector: dict[str, Any]) -> Body:
    async def end(t: Trial) -> None:
        peer = await t.meet()
        await peer.send(vectors.to_bytes(vector["wire"]))
        messages = vectors.to_messages(vector["messages"])
        await t.reads(*messages)
        if vector["then"] == "reset":
            peer.reset()
        else:
            peer.close()
        await t.reads_end(vector["end_reason"], vector["error"])
        await t.reads_end(vector["end_reason"], vector["error"])

    return end


for _vector in vectors.load("ends"):
    _is_reset = _vector["then"] == "reset"
    case(
        f"ends/{_vector['id']}",
        *_vector["covers"],
        "SES-1",
        transports=over(can_reset=True) if _is_reset else over(),
        text=f"{_vector['note']} A second read reports the same.",
    )(_end(_vector))


@case("ends/messages-before-it", "SES-2")
async def messages_before(t: Trial) -> None:
    """A hundred messages that arrived whole are delivered before the end, whatever it is."""
    peer = await t.meet()
    await peer.send(frame(b"whole") * 100 + frame(b"cut")[:-1])
    peer.close()
    await t.reads(*[b"whole"] * 100)
    await t.reads_error("truncated", "truncated")


@case("ends/nothing-after-close-frame", "FRM-5")
async def nothing_after(t: Trial) -> None:
    """Frames after the close frame are ignored."""
    peer = await t.meet()
    await peer.send(frame(b"last") + CLOSE + frame(b"too late") + b"\xff" * 9)
    await t.reads(b"last")
    await t.reads_end("clean")
    peer.close()
    await t.reads_end("clean")


@case("ends/close-frame-before-the-end", "SES-5")
async def close_frame_alone(t: Trial) -> None:
    """The close frame is the end at once, though the stream stays open."""
    peer = await t.meet()
    reading = t.begin("read")
    await peer.send(CLOSE)
    reply = await t.answer(reading)
    t.check_end(reply, "clean", None)


@case("ends/third-writer", "SES-5", transports=over(single_stream=False))
async def third_writer(t: Trial) -> None:
    """The close frame is the end, though another process holds the pipe open."""
    peer = await t.meet()
    kept = os.dup(peer.out_fd)
    try:
        await peer.send(frame(b"last") + CLOSE)
        peer.close()
        await t.reads(b"last")
        await t.reads_end("clean")
    finally:
        os.close(kept)


@case("ends/half/after-close-frame", "SES-4")
async def half_after_close_frame(t: Trial) -> None:
    """After the peer's close frame the testee can still write."""
    peer = await t.meet()
    await peer.send(CLOSE)
    peer.end_writing()
    await t.reads_end("clean")
    writing = t.begin("write", **write(300_000))
    await peer.expect_message(payload(300_000))
    t.check_ok(await t.answer(writing), "write")


@case("ends/half/after-end-of-stream", "SES-4")
async def half_after_eof(t: Trial) -> None:
    """After an end of stream without a close frame the testee can still write."""
    peer = await t.meet()
    await peer.send(frame(b"last"))
    peer.end_writing()
    await t.reads(b"last")
    await t.reads_end("eof")
    await t.do("write", **write(10))
    await peer.expect_message(payload(10))


@case("ends/half/after-truncated", "SES-4")
async def half_after_truncated(t: Trial) -> None:
    """After a stream that ended inside a frame the testee can still write."""
    peer = await t.meet()
    await peer.send(frame(b"cut")[:-1])
    peer.end_writing()
    await t.reads_end("truncated", "truncated")
    await t.do("write", **write(10))
    await peer.expect_message(payload(10))


@case("ends/write/peer-gone", "SES-23")
async def peer_gone(t: Trial) -> None:
    """After the peer has left, the second write at the latest fails."""
    peer = await t.meet()
    peer.close()
    await t.reads_end("eof")
    reply = await t.tell("write", **write(1))
    if "error" not in reply:
        await t.settle()
        reply = await t.tell("write", **write(1))
    t.check_error(reply, "peer-gone", "write")


@case("ends/write/goes-on-reading", "SES-24", transports=over(drains_before_close=False))
async def failed_write(t: Trial) -> None:
    """A failed write does not end reading: messages that the peer has sent still arrive."""
    peer = await t.meet()
    await peer.send(frame(b"first") + frame(b"second"))
    peer.close()
    await t.reads(b"first")
    await t.fail("peer-gone", "write", **write(1))
    await t.reads(b"second")


@case("ends/write/reading-goes-on", "SES-24", transports=over(drains_before_close=False))
async def reading_goes_on(t: Trial) -> None:
    """Messages that the peer sends after a write has failed arrive as well."""
    peer = await t.meet()
    await peer.send(frame(b"first"))
    await t.reads(b"first")
    peer.end_reading()
    await t.fail("peer-gone", "write", **write(1))
    for message in (b"second", payload(100_000)):
        peer.deliver(frame(message))
        await t.reads(message)


@case("ends/write/meets-a-reset", "SES-3", transports=over(can_reset=True))
async def meets_reset(t: Trial) -> None:
    """A reset that a write has reported is reported to the reader as well."""
    peer = await t.meet()
    peer.reset()
    for _ in range(3):
        if "error" in await t.tell("write", **write(1)):
            break
        await t.settle()
    await t.reads_error("reset", "reset")


@case("ends/write/fails-the-same-each-time", "SES-23", "SES-26")
async def same_each_time(t: Trial) -> None:
    """Once a write has failed because the peer left, all fail with the same code."""
    peer = await t.meet()
    peer.close()
    await t.reads_end("eof")
    replies = []
    for _ in range(5):
        replies.append(await t.tell("write", **write(1)))
        await t.settle()
    failed = [reply.get("error") for reply in replies[1:]]
    t.expect(
        set(failed) in ({"peer-gone"}, {"reset"}),
        "what the second and later writes give",
        "'peer-gone' or 'reset', the same each time",
        failed,
    )


@case("ends/write/after-a-reset", "SES-4", "SES-26", transports=over(can_reset=True))
async def after_reset(t: Trial) -> None:
    """Once a read has reported a reset, writes fail with reset."""
    peer = await t.meet()
    peer.reset()
    await t.reads_error("reset", "reset")
    for _ in range(2):
        await t.fail("reset", "write", **write(1))


@case("ends/write/waiting", "SES-23")
async def waiting_write(t: Trial) -> None:
    """A blocked write fails when the peer leaves."""
    peer = await t.meet()
    writing = t.begin("write", **write(_LARGE))
    await peer.receive(1000)
    peer.close()
    reply = await t.answer(writing)
    t.expect(
        reply.get("error") in ("peer-gone", "reset"),
        "the answer to a blocked write after the peer left",
        "error 'peer-gone' or 'reset'",
        reply,
    )


@case("ends/idle-peer-leaves", "SES-5")
async def idle_peer_leaves(t: Trial) -> None:
    """A waiting read ends when a peer leaves that never sent anything."""
    peer = await t.meet()
    reading = t.begin("read")
    await t.settle()
    peer.close()
    t.check_end(await t.answer(reading), "eof", None)
