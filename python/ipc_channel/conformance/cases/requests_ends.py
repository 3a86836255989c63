"""What becomes of calls and handlers when a session ends."""

from __future__ import annotations

from dataclasses import dataclass

from ipc_channel.conformance.case import TRANSPORTS, Body, case, over
from ipc_channel.conformance.raw_peer import CLOSE
from ipc_channel.conformance.request_peer import (
    Message,
    RequestPeer,
    answer,
    request,
    serve,
)
from ipc_channel.conformance.testee import Pending
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire

_NO_CHANNEL = ("not-connected", "closed")
_BAD = Message(0x31, 1)
_MOST = 1024  # open requests


@dataclass(frozen=True)
class _End:
    """How the peer ends the session, and what a reader gets."""

    name: str
    reason: str
    error: str | None = None
    transports: tuple[str, ...] = TRANSPORTS

    async def come(self, wire: Wire) -> None:
        if self.name == "reset":
            wire.reset()
            return
        await wire.send({"close": CLOSE, "eof": b"", "truncated": bytes(3)}[self.name])
        wire.end_writing()


_ENDS = (
    _End("close", "clean"),
    _End("eof", "eof"),
    _End("truncated", "truncated", "truncated"),
    _End("reset", "reset", "reset", over(can_reset=True)),
)


def _calls(end: _End) -> Body:
    async def body(t: Trial) -> None:
        peer = RequestPeer(await t.meet())
        first = t.begin("call", payload="61")
        # Before the first byte, a named pipe does not show its end (RDV-26).
        await peer.send(answer(await peer.expect_request(b"a")))
        t.check_ok(await t.answer(first), first.text)
        calls = [t.begin("call", payload=f"{number:02x}") for number in range(3)]
        await peer.expect_requests(3)
        await end.come(peer.wire)
        for call in calls:
            t.check_error(await t.answer(call), "unanswered", call.text)
        await t.fail("unanswered", "call", payload="01")

    return body


def _handlers(end: _End) -> Body:
    async def body(t: Trial) -> None:
        peer, serving = await serve(t, concurrency=4)
        await peer.send(request(4, b"inobody wants it"))
        await peer.start_handlers(1, 2, 3)
        await peer.send(request(5, b"w"))  # waits for its turn, if there is a limit
        await end.come(peer.wire)
        reply = await t.answer(serving)
        t.check_end(reply, end.reason, end.error)
        if end.error is None:
            ended = reply.get("answered") in (4, 5)
            t.expect(ended, "handlers that have ended", "4, or 5 without a limit", reply)
        if end.name != "reset":
            closing = t.begin("close")
            await peer.wire.expect_close()
            peer.wire.close()
            t.check_ok(await t.answer(closing), "close")

    return body


for _end in _ENDS:
    case(
        f"requests/ends/{_end.name}/calls",
        "REQ-15",
        needs="requests concurrent",
        transports=_end.transports,
        text=f"After {_end.reason}, calls that wait and later ones fail with unanswered.",
    )(_calls(_end))
    case(
        f"requests/ends/{_end.name}/handlers",
        "REQ-16",
        needs="requests",
        transports=_end.transports,
        text=f"With {_end.reason}, the handlers that run end, and nothing more is sent.",
    )(_handlers(_end))


@case("requests/ends/waiting-calls", "REQ-15", needs="requests concurrent")
async def waiting_calls(t: Trial) -> None:
    """Calls that wait for their turn fail at the end of the session as well."""
    peer = RequestPeer(await t.meet())
    calls = [t.begin("call", payload=f"{number:04x}") for number in range(_MOST + 2)]
    await peer.expect_requests(_MOST)
    await peer.wire.send(CLOSE)
    peer.wire.end_writing()
    for call in calls[:_MOST]:
        t.check_error(await t.answer(call), "unanswered", call.text)
    for call in calls[_MOST:]:  # which may have been refused at once
        reply = await t.answer(call)
        t.expect("error" in reply, call.text, "an error", reply)


@case("requests/ends/own-close", "REQ-15", "REQ-16", needs="requests concurrent")
async def own_close(t: Trial) -> None:
    """Close ends calls and handlers, and sends nothing but the close frame."""
    peer, serving = await serve(t, concurrency=2)
    await peer.start_handlers(1, 2)
    call = t.begin("call", payload="61")
    await peer.expect_request(b"a")
    closing = t.begin("close")
    await peer.wire.expect_close()
    peer.wire.close()
    t.check_ok(await t.answer(closing), "close")
    t.check_error(await t.answer(call), "closed", call.text)
    reply = await t.answer(serving)
    t.expect(reply.get("end") == "local", "the end of serving", "local", reply)
    t.expect(reply.get("error") in (None, "closed"), "serving", "ended", reply)
    if "answered" in reply:
        t.expect(reply["answered"] == 2, "handlers that have ended", 2, reply)
    await t.fail("closed", "call", payload="62")


@case("requests/ends/not-sent-again", "REQ-15", needs="requests concurrent")
async def not_sent_again(t: Trial) -> None:
    """A request that was not answered is not sent again in the next session."""
    before = RequestPeer(await t.meet())
    call = t.begin("call", payload="6f6e6365")
    await before.expect_request(b"once")
    before.wire.close()
    t.check_error(await t.answer(call), "unanswered", call.text)
    t.renew()
    peer = RequestPeer(await t.meet())
    call = t.begin("call", payload="61")
    await peer.send(answer(await peer.expect_request(b"a")))
    t.check_ok(await t.answer(call), call.text)


@case("requests/ends/before-the-first-call", "REQ-15", needs="requests")
async def before_the_first_call(t: Trial) -> None:
    """A session that has ended before the first call fails that one as well."""
    peer = await t.meet()
    await peer.send(CLOSE)
    peer.end_writing()
    await t.fail("unanswered", "call", payload="61")


@case("requests/bad-message/calls", "REQ-4", needs="requests concurrent")
async def behind_a_bad_message(t: Trial) -> None:
    """What comes behind a message that is not allowed answers no call."""
    peer = RequestPeer(await t.meet())
    calls = [t.begin("call", payload="61") for _ in range(3)]
    asked = await peer.expect_requests(3)
    await peer.send(_BAD, *(answer(one.id) for one in asked))
    for call in calls:
        t.check_error(await t.answer(call), "bad-message", call.text)
    await _is_closed(t, peer)
    await t.fail("bad-message", "call", payload="62")


@case("requests/bad-message/serving", "REQ-4", "REQ-16", needs="requests")
async def serving_behind_a_bad_message(t: Trial) -> None:
    """What comes behind a message that is not allowed is not handled."""
    peer, serving = await serve(t, concurrency=3)
    await peer.start_handlers(1, 2)
    await peer.send(_BAD, request(3, b"e"))
    await _is_closed(t, peer)
    t.check_error(await t.answer(serving), "bad-message", serving.text)


async def _is_closed(t: Trial, peer: RequestPeer) -> None:
    t.trace.add("--- closed by the testee")
    await peer.wire.expect_close()
    peer.wire.close()


async def _is_refused(t: Trial, request: Pending) -> None:
    reply = await t.answer(request)
    t.expect(reply.get("error") in _NO_CHANNEL, request.text, _NO_CHANNEL, reply)


@case("requests/no-channel", "ERR-1", needs="requests")
async def no_channel(t: Trial) -> None:
    """Before a connect, and after a close, nothing can be asked or served."""
    await _is_refused(t, t.begin("call", payload="61"))
    await _is_refused(t, t.begin("serve", concurrency=1))
    peer = await t.meet()
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    await _is_refused(t, t.begin("call", payload="61"))
