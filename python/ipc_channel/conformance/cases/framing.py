"""Bytes on the wire, in both directions."""

from __future__ import annotations

from typing import Any

from ipc_channel.conformance import vectors
from ipc_channel.conformance.case import Body, case
from ipc_channel.conformance.payloads import digest, payload, write
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.trial import Trial

_BYTEWISE = 5000  # bytes: longer streams are not sent byte by byte
_SIZES = (1, 2, 255, 256, 257, 4092, 4096, 65531, 65532, 65535, 65536, 65537)
_LARGE = (2**20, 5 * 2**20)
AFTER = frame(b"z")


def _decode(vector: dict[str, Any]) -> Body:
    async def decode(t: Trial) -> None:
        wire = vectors.to_bytes(vector["wire"])
        messages = vectors.to_messages(vector["messages"])
        end, error = vector["end_reason"], vector["error"]
        ways = [("whole", wire, len(wire) or 1, messages)]
        if len(wire) <= _BYTEWISE:
            ways.append(("byte by byte", wire, 1, messages))
        if end != "truncated":
            more = [*messages, b"z"] if end == "eof" else messages
            ways.append(("with a frame after", wire + AFTER, 2**18, more))
        options = {}
        if "max_message_size" in vector:
            options["max_message_size"] = vector["max_message_size"]
        for how, sent, piece, expected in ways:
            t.trace.add(f"--- {how}")
            peer = await t.meet(**options)
            peer.deliver(sent, piece, then_close=True)
            if len(expected) > 50 and error is None:
                reply = await t.tell("drain")
                t.check_end(reply, end, error)
                t.expect(
                    reply.get("sha256") == digest(expected),
                    f"what the testee read ({how})",
                    f"{len(expected)} messages",
                    reply,
                )
            else:
                await t.reads(*expected)
                await t.reads_end(end, error)
            await t.do("close")

    return decode


for _vector in vectors.load("frames"):
    case(
        f"framing/decode/{_vector['id']}",
        *_vector["covers"],
        needs="max_message_size" if "max_message_size" in _vector else "",
        text=_vector["note"],
    )(_decode(_vector))


def _encode(size: int) -> Body:
    async def encode(t: Trial) -> None:
        peer = await t.meet()
        writing = t.begin("write", **write(size))
        await peer.expect_message(payload(size))
        t.check_ok(await t.answer(writing), "write")
        closing = t.begin("close")
        await peer.expect_close()
        peer.close()
        t.check_ok(await t.answer(closing), "close")

    return encode


for _size in (*_SIZES, *_LARGE):
    case(
        f"framing/encode/size-{_size}",
        "FRM-1",
        "FRM-2",
        text=f"A message of {_size} bytes is one frame, and then the close frame follows.",
    )(_encode(_size))


def _receive(size: int) -> Body:
    async def receive(t: Trial) -> None:
        peer = await t.meet()
        peer.deliver(frame(payload(size)))
        await t.reads(payload(size))

    return receive


for _size in (*_SIZES, *_LARGE):
    case(
        f"framing/receive/size-{_size}",
        "FRM-1",
        "FRM-2",
        text=f"A message of {_size} bytes arrives as it was sent.",
    )(_receive(_size))


@case("framing/encode/all-byte-values", "FRM-2")
async def all_byte_values(t: Trial) -> None:
    """Every byte value passes, also in each byte of a header."""
    peer = await t.meet()
    message = bytes(range(256)) + CLOSE + b"\xff" * 4
    await t.do("write", **write(len(message), pattern=message))
    await peer.expect_message(message)
    await peer.send(frame(message))
    await t.reads(message)


@case("framing/encode/looks-like-close", "FRM-2", "FRM-3")
async def looks_like_close(t: Trial) -> None:
    """Four NUL bytes are a message like any other."""
    peer = await t.meet()
    await t.do("write", **write(4, 4, pattern=bytes(4)))
    await peer.expect_message(bytes(4))
    await peer.expect_message(bytes(4))
    await peer.send(frame(bytes(4)) * 2 + CLOSE)
    await t.reads(bytes(4), bytes(4))
    await t.reads_end("clean")


@case("framing/encode/close-frame", "FRM-3", "SES-31")
async def close_frame(t: Trial) -> None:
    """Closing without any message sends four NUL bytes and ends the stream."""
    peer = await t.meet()
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


@case("framing/encode/order", "FRM-2")
async def order(t: Trial) -> None:
    """A thousand messages of mixed sizes are sent in order, none joined or split."""
    peer = await t.meet()
    sizes = [1, 70_000, 3, 5000, 64]
    writing = t.begin("write", **write(*sizes, count=1000))
    for number in range(1000):
        await peer.expect_message(payload(sizes[number % len(sizes)]))
    t.check_ok(await t.answer(writing), "write")


@case("framing/receive/split-everywhere", "FRM-2")
async def split_everywhere(t: Trial) -> None:
    """Three frames in two pieces arrive the same, wherever they are split."""
    wire = frame(b"a") + frame(b"bb") + frame(b"ccc")
    peer = await t.meet()
    for cut in range(1, len(wire)):
        await peer.send(wire[:cut])
        await t.settle()
        await peer.send(wire[cut:])
        await t.reads(b"a", b"bb", b"ccc")
