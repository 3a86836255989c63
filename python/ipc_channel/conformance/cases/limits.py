"""Messages that are too large or too small."""

from __future__ import annotations

from ipc_channel.conformance.case import Body, case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.trial import Trial

_DEFAULT = 64 * 2**20
_LARGEST = 2**32 - 1
_CAME = 1000  # bytes that arrive behind a header
_ALLOWED = 2**20  # bytes that may be allocated for a header (FRM-9)
_SPARE = 4 * 2**20  # bytes that a runtime may allocate beyond its measured use
_SESSIONS = 5


@case("limits/receive/exact", "FRM-8", needs="max_message_size")
async def exact(t: Trial) -> None:
    """A message as long as the limit arrives."""
    peer = await t.meet(max_message_size=1000)
    await peer.send(frame(payload(1000)))
    await t.reads(payload(1000))


@case("limits/receive/one-over", "FRM-8", needs="max_message_size")
async def one_over(t: Trial) -> None:
    """A header one byte over the limit ends the session before any payload: too-large."""
    peer = await t.meet(max_message_size=1000)
    await peer.send(frame(b"before") + (1001).to_bytes(4, "big"))
    await t.reads(b"before")
    await t.reads_error("too-large", "too_large")
    await t.reads_error("too-large", "too_large")


@case("limits/receive/default", "FRM-6", "FRM-8")
async def default(t: Trial) -> None:
    """The default limit is 64 MiB."""
    peer = await t.meet()
    await peer.send((_DEFAULT + 1).to_bytes(4, "big"))
    await t.reads_error("too-large", "too_large")


@case("limits/receive/unsigned", "FRM-1", "FRM-8")
async def unsigned(t: Trial) -> None:
    """A length with its highest bit set is large, not negative."""
    peer = await t.meet()
    await peer.send(b"\x80\x00\x00\x00")
    await t.reads_error("too-large", "too_large")


async def _half_a_message(t: Trial, size: int) -> None:
    """Make the testee read the beginning of a message, then end the stream."""
    peer = await t.meet()
    await peer.send(size.to_bytes(4, "big") + bytes(_CAME))
    peer.end_writing()
    await t.reads_error("truncated", "truncated")
    peer.close()
    t.renew()


async def _growth(t: Trial, size: int) -> int:
    """Return the memory that several sessions take which get such a header."""
    before = t.memory()
    for _ in range(_SESSIONS):
        await _half_a_message(t, size)
    return t.memory() - before


@case("limits/receive/header-takes-no-memory", "FRM-9")
async def no_memory(t: Trial) -> None:
    """For a header within the limit, the reader allocates next to no memory in advance."""
    small = _CAME + 1000
    await _growth(t, small)
    noise = max(await _growth(t, small), await _growth(t, small))
    grown = await _growth(t, _DEFAULT)
    limit = noise + _ALLOWED + _SPARE
    t.expect(
        grown < limit,
        "memory taken for headers of 64 MiB, beyond what came",
        f"< {limit} bytes, {noise} of them taken for small ones as well",
        grown,
    )


@case("limits/receive/writes-after-too-large", "SES-23", "SES-26")
async def writes_after_too_large(t: Trial) -> None:
    """After a header over the limit, writes fail with too-large."""
    peer = await t.meet()
    await peer.send(b"\xff\xff\xff\xff")
    await t.reads_error("too-large", "too_large")
    for _ in range(2):
        await t.fail("too-large", "write", **write(1))


@case("limits/receive/write-that-waits", "SES-23", "SES-26", needs="concurrent")
async def waiting_write(t: Trial) -> None:
    """A blocked write fails when the peer sends a header over the limit."""
    peer = await t.meet()
    writing = [t.begin("write", **write(size)) for size in (_DEFAULT // 2, 10)]
    await peer.receive(4)
    await peer.send(b"\xff\xff\xff\xff")
    await t.reads_error("too-large", "too_large")
    for one in writing:
        t.check_error(await t.answer(one), "too-large", "write")


@case("limits/receive/close-after-too-large", "SES-37")
async def close_after_too_large(t: Trial) -> None:
    """After too-large, close still sends a close frame."""
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
    """By default, a message over 64 MiB is refused and not sent."""
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


_REFUSED = {0: "empty-message", _DEFAULT + 1: "message-too-large"}
"""Sizes of messages that are refused, and the error codes."""


@case("limits/send/refused-once-writing-is-over", "SES-25")
async def refused_once_over(t: Trial) -> None:
    """While every write fails, a message of invalid size still gets its own error code."""
    peer = await t.meet()
    await peer.send(b"\xff\xff\xff\xff")
    await t.reads_error("too-large")
    for size, code in _REFUSED.items():
        await t.fail(code, "write", **write(size))
    await t.fail("too-large", "write", **write(1))


@case("limits/send/refused-after-close", "SES-25", "SES-26")
async def refused_after_close(t: Trial) -> None:
    """After close, a message of invalid size gets its own error code, or closed."""
    peer = await t.meet()
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    for size, code in _REFUSED.items():
        reply = await t.tell("write", **write(size))
        codes = (code, "closed")
        t.expect(
            reply.get("error") in codes,
            f"a write of {size} bytes after close",
            codes,
            reply,
        )


# --- Options


@case("limits/options/smallest", "FRM-11", level="SHOULD", needs="max_message_size")
async def smallest(t: Trial) -> None:
    """A limit of one byte is accepted, and applies to both directions."""
    peer = await t.meet(max_message_size=1)
    await t.fail("message-too-large", "write", **write(2))
    await t.do("write", **write(1))
    await peer.expect_message(payload(1))
    await peer.send(frame(b"1") + frame(b"22"))
    await t.reads(b"1")
    await t.reads_error("too-large", "too_large")


@case("limits/options/largest", "FRM-11", level="SHOULD", needs="max_message_size")
async def largest(t: Trial) -> None:
    """A limit of 4,294,967,295 bytes is accepted: no length is too large."""
    peer = await t.meet(max_message_size=_LARGEST)
    await peer.send(_LARGEST.to_bytes(4, "big") + b"begun")
    peer.end_writing()
    await t.reads_error("truncated", "truncated")


def _out_of_range(name: str, value: float) -> Body:
    async def refused(t: Trial) -> None:
        told = {"timeout": t.patience, name: value}
        await t.fail("bad-option", "connect", **await t.absent(), **told)

    return refused


for _name, _value, _how, _needs in (
    ("max_message_size", 0, "zero", "max_message_size"),
    ("max_message_size", 2**32, "over-the-largest", "max_message_size"),
    ("max_message_size", -1, "negative", "max_message_size"),
    ("linger", -1, "negative", "linger"),
    ("timeout", -1, "negative", ""),
):
    case(
        f"limits/options/{_name.replace('_', '-')}-{_how}",
        "ERR-1",
        level="SHOULD",
        needs=_needs,
        text=f"An option {_name} of {_value} is refused with bad-option, not taken for another.",
    )(_out_of_range(_name, _value))
