"""Load: many messages, and large ones, between the testee and a Python channel."""

from __future__ import annotations

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import digest, payload, sizes_of, write
from ipc_channel.conformance.trial import Trial

_COUNT = 4000
_MOST = 70_000  # bytes


@case("load/to-testee", "FRM-2")
async def to_testee(t: Trial) -> None:
    """Thousands of messages of mixed sizes arrive in order."""
    channel = await t.meet_channel()
    messages = [payload(size) for size in sizes_of(t.random, _COUNT, _MOST)]
    draining = t.begin("drain")
    for message in messages:
        await t.in_time(channel.write(message), "read")
    await channel.close()
    reply = await t.answer(draining)
    t.check_end(reply, "clean", None)
    t.expect(reply.get("messages") == _COUNT, "messages read", _COUNT, reply)
    t.expect(reply.get("sha256") == digest(messages), "their digest", "the same", reply)


@case("load/from-testee", "FRM-2")
async def from_testee(t: Trial) -> None:
    """Thousands of messages of mixed sizes are sent in order, and closing loses none."""
    channel = await t.meet_channel()
    sizes = sizes_of(t.random, _COUNT, _MOST)
    writing = t.begin("write", **write(*sizes))
    got = [await t.in_time(channel.read(), "sent more") for _ in range(_COUNT)]
    t.check_ok(await t.answer(writing), "write")
    closing = t.begin("close")
    end = await t.in_time(channel.read(), "closed")
    t.expect(end is None, "what follows", "the end", "a message")
    t.expect(channel.end_reason == "clean", "the end", "clean", channel.end_reason)
    await channel.close()
    t.check_ok(await t.answer(closing), "close")
    expected = [payload(size) for size in sizes]
    t.expect(got == expected, "what arrived", "what was written", "something else")


@case("load/echo", "FRM-2", "SES-22")
async def echo(t: Trial) -> None:
    """Thousands of messages that cross in both directions come back unchanged."""
    channel = await t.meet_channel()
    echoing = t.begin("echo")
    messages = [payload(size) for size in sizes_of(t.random, _COUNT, _MOST)]

    async def send() -> None:
        for message in messages:
            await t.in_time(channel.write(message), "read")

    sending = t.spawn(send())
    got = [await t.in_time(channel.read(), "echoed") for _ in messages]
    await sending
    t.expect(got == messages, "what came back", "what was sent", "something else")
    await channel.close()
    t.check_end(await t.answer(echoing), "clean", None)


@case("load/large", "FRM-2", "FRM-6")
async def large(t: Trial) -> None:
    """A message of 32 MiB passes in each direction."""
    channel = await t.meet_channel()
    message = payload(32 * 2**20)
    reading = t.begin("read")
    await t.in_time(channel.write(message), "read", times=3)
    t.check_message(t.check_ok(await t.answer(reading), "read"), message)
    writing = t.begin("write", **write(len(message)))
    got = await t.in_time(channel.read(), "sent its message", times=3)
    t.expect(got == message, "what arrived", "32 MiB", "something else")
    t.check_ok(await t.answer(writing), "write")
