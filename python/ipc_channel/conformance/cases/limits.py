"""Sizes that are too large, and too small."""

from __future__ import annotations

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import frame

_DEFAULT = 64 * 2**20
_SPARE = 48 * 2**20  # bytes of memory that a runtime may take for itself meanwhile


@case("limits/receive/exact", "FRM-8", needs="max_message_size")
async def exact(t: Trial) -> None:
    """A message as long as the limit arrives."""
    peer = await t.meet(max_message_size=1000)
    await peer.send(frame(payload(1000)))
    await t.reads(payload(1000))


@case("limits/receive/one-over", "FRM-8", needs="max_message_size")
async def one_over(t: Trial) -> None:
    """A header one over the limit ends the session with too-large, before any payload."""
    peer = await t.meet(max_message_size=1000)
    await peer.send(frame(b"before") + (1001).to_bytes(4, "big"))
    await t.reads(b"before")
    await t.reads_error("too-large", "too_large")
    await t.reads_error("too-large", "too_large")


@case("limits/receive/default", "FRM-6", "FRM-8")
async def default(t: Trial) -> None:
    """Unless told otherwise the limit is 64 MiB."""
    peer = await t.meet()
    await peer.send((_DEFAULT + 1).to_bytes(4, "big"))
    await t.reads_error("too-large", "too_large")


@case("limits/receive/unsigned", "FRM-1", "FRM-8")
async def unsigned(t: Trial) -> None:
    """A length with its highest bit set is large, not negative."""
    peer = await t.meet()
    await peer.send(b"\x80\x00\x00\x00")
    await t.reads_error("too-large", "too_large")


@case("limits/receive/header-takes-no-memory", "FRM-9")
async def no_memory(t: Trial) -> None:
    """A header alone, within the limit, makes the reader take next to no memory."""
    peer = await t.meet()
    await peer.send(frame(b"warm"))
    await t.reads(b"warm")
    before = t.memory()
    await peer.send(_DEFAULT.to_bytes(4, "big") + bytes(1000))
    peer.close()
    await t.reads_error("truncated", "truncated")
    grown = t.memory() - before
    t.expect(grown < _SPARE, "memory taken for a header", f"< {_SPARE} bytes", grown)


@case("limits/receive/close-after-too-large", "SES-37")
async def close_after_too_large(t: Trial) -> None:
    """After too-large a close frame still tells the peer that this is the end."""
    peer = await t.meet()
    await peer.send(b"\xff\xff\xff\xff")
    await t.reads_error("too-large")
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


@case("limits/send/one-over", "FRM-7", "SES-25", needs="max_message_size")
async def send_one_over(t: Trial) -> None:
    """A message over the limit is refused, sends nothing, and does no harm."""
    peer = await t.meet(max_message_size=1000)
    await t.fail("message-too-large", "write", **write(1001))
    await t.do("write", **write(1000))
    await peer.expect_message(payload(1000))


@case("limits/send/default", "FRM-6", "FRM-7")
async def send_default(t: Trial) -> None:
    """Unless told otherwise a message of over 64 MiB is not sent."""
    peer = await t.meet()
    await t.fail("message-too-large", "write", **write(_DEFAULT + 1))
    await t.do("write", **write(1))
    await peer.expect_message(payload(1))


@case("limits/send/empty", "FRM-4", "SES-25")
async def send_empty(t: Trial) -> None:
    """An empty message is refused, sends nothing, and does no harm."""
    peer = await t.meet()
    await t.fail("empty-message", "write", **write(0))
    await t.do("write", **write(1))
    await peer.expect_message(payload(1))
