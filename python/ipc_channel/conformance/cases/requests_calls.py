"""Requests of the testee: ids, limits, and calls that are cancelled."""

from __future__ import annotations

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import payload
from ipc_channel.conformance.request_peer import (
    CANCEL,
    REQUEST,
    Message,
    RequestPeer,
    answer,
    error,
    request,
)
from ipc_channel.conformance.testee import Pending
from ipc_channel.conformance.trial import Trial

_MOST = 1024  # open requests
_MANY = 200  # calls
_LARGE = 300_000  # bytes: what fits into a line of the control language as hex


async def _check_answer(t: Trial, call: Pending, expected: bytes) -> None:
    got = t.check_ok(await t.answer(call), call.text).get("payload")
    t.expect(got == expected.hex(), f"the answer to {call.text}", expected.hex(), got)


async def _ask_most(t: Trial, peer: RequestPeer) -> tuple[list[Pending], list[Message]]:
    """Begin as many calls as there may be open requests, and read those."""
    calls = [t.begin("call", payload=f"{number:04x}") for number in range(_MOST)]
    return calls, await peer.expect_requests(_MOST)


async def _check_room(t: Trial, peer: RequestPeer) -> None:
    """Check that no earlier request counts as open."""
    calls, asked = await _ask_most(t, peer)
    await peer.send(*(answer(one.id, one.body) for one in asked))
    for number, call in enumerate(calls):
        await _check_answer(t, call, number.to_bytes(2, "big"))


@case("requests/call/largest", "REQ-2", needs="requests max_message_size")
async def largest(t: Trial) -> None:
    """A payload of one byte too many is refused and not sent; the largest one is sent."""
    peer = RequestPeer(await t.meet(max_message_size=100))
    await t.fail("message-too-large", "call", payload=bytes(96).hex())
    call = t.begin("call", payload=bytes(95).hex())
    id_ = await peer.expect_request(bytes(95))
    await peer.send(answer(id_, bytes(95)))
    await _check_answer(t, call, bytes(95))


@case("requests/call/small-limit", "REQ-17", needs="requests max_message_size")
async def small_limit(t: Trial) -> None:
    """With a limit below 70, calls and serving are refused, and nothing is sent."""
    peer = RequestPeer(await t.meet(max_message_size=69))
    await t.fail("bad-option", "call", payload="00")
    await t.fail("bad-option", "serve")
    await t.do("close")
    await peer.wire.expect_close()


@case("requests/call/any-order", "REQ-5", "REQ-6", needs="requests concurrent")
async def any_order(t: Trial) -> None:
    """Two hundred calls that are answered in another order get each their own answer."""
    peer = RequestPeer(await t.meet())
    calls = [t.begin("call", payload=f"{number:04x}") for number in range(_MANY)]
    asked = await peer.expect_requests(_MANY)
    t.random.shuffle(asked)
    for one in asked:
        fails = one.body[-1] % 3 == 0
        text = one.body.hex()
        await peer.send(error(one.id, "own", text) if fails else answer(one.id, one.body))
    for number, call in enumerate(calls):
        reply, own = await t.answer(call), f"{number:04x}"
        if number % 256 % 3 == 0:
            t.check_error(reply, "own", call.text)
            got = reply.get("text")
        else:
            got = t.check_ok(reply, call.text).get("payload")
        t.expect(got == own, f"what {call.text} has come to", own, got)


@case("requests/call/ids", "REQ-5", needs="requests concurrent")
async def ids(t: Trial) -> None:
    """Of three hundred calls, none has the id of one that is open all the time."""
    peer = RequestPeer(await t.meet())
    first = t.begin("call", payload="00")
    id_ = await peer.expect_request(b"\x00")
    for number in range(300):
        call = t.begin("call", payload=f"{number:04x}")
        body = number.to_bytes(2, "big")
        await peer.send(answer(await peer.expect_request(body), body))
        await _check_answer(t, call, body)
    await peer.send(answer(id_, b"the first"))
    await _check_answer(t, first, b"the first")


@case("requests/call/most-open", "REQ-7", needs="requests concurrent")
async def most_open(t: Trial) -> None:
    """No more than 1,024 requests are open; a further call waits, or is refused."""
    peer = RequestPeer(await t.meet())
    calls = [t.begin("call", payload=f"{number:04x}") for number in range(_MOST + 1)]
    asked = await peer.expect_requests(_MOST)
    for _ in range(10):
        await t.settle()
        t.expect(not peer.has_sent(), "open requests", _MOST, "one more")
    refused = [call for call in calls if call.reply.done()]
    if refused:
        t.expect(refused == calls[-1:], "calls that are refused", 1, len(refused))
        t.expect("error" in await t.answer(refused[0]), "the call", "an error", "none")
    else:
        await peer.send(answer(asked[0].id, asked[0].body))
        asked = asked[1:] + await peer.expect_requests(1)
    await peer.send(*(answer(one.id, one.body) for one in asked))
    for number, call in enumerate(calls):
        if call not in refused:
            await _check_answer(t, call, number.to_bytes(2, "big"))


@case("requests/call/waiting", "REQ-7", "REQ-12", needs="requests concurrent cancel")
async def waiting(t: Trial) -> None:
    """Calls that wait for their turn get it after an answer or an error, or end."""
    peer = RequestPeer(await t.meet())
    _, asked = await _ask_most(t, peer)
    given_up, *others = [t.begin("call", payload=text) for text in ("00", "01", "02")]
    await t.do("cancel", of=given_up.id)
    reply = await t.answer(given_up)
    t.expect("error" in reply, given_up.text, "an error", reply)
    if reply["error"] != "cancelled":
        return  # this client refuses a call that would have to wait
    frees = (error(asked[0].id, "own"), answer(asked[1].id))
    for number, call in enumerate(others):
        await peer.send(frees[number])
        due = "the request of a call that waits"
        got = await peer.receive(due)
        if got.body == b"\x00":  # sent all the same: then with its cancel
            await peer.expect(Message(CANCEL, got.id))
            await peer.send(error(got.id, "cancelled"))
            got = await peer.receive(due)
        right = request(got.id, bytes([number + 1]))
        t.expect(got == right, due, right, got)
        await peer.send(answer(got.id, b"ok"))
        await _check_answer(t, call, b"ok")


@case(
    "requests/call/cancel-while-writing",
    "REQ-12",
    "SES-21",
    needs="requests concurrent cancel",
)
async def cancel_while_writing(t: Trial) -> None:
    """Calls that are cancelled while they are written are sent whole or not at all."""
    peer = RequestPeer(await t.meet())
    calls = [t.begin("call", payload=payload(_LARGE).hex()) for _ in range(15)]
    await t.settle()
    for call in calls:
        await t.do("cancel", of=call.id)
    for call in calls:
        t.check_error(await t.answer(call), "cancelled", call.text)
    last = t.begin("call", payload="6c617374")
    id_, asked, cancelled = None, list[int](), list[int]()
    while id_ is None or len(cancelled) < len(asked):
        got = await peer.receive()
        if got == request(got.id, b"last"):
            id_ = got.id
        elif got.kind == REQUEST:
            t.expect(got.body == payload(_LARGE), "a cancelled request", "whole", got)
            asked.append(got.id)
        else:
            expected = [one for one in asked if one not in cancelled]
            cancels = [Message(CANCEL, one) for one in expected]
            t.expect(got in cancels, "the cancel of an open request", cancels, got)
            cancelled.append(got.id)
    await peer.send(*(error(one, "cancelled") for one in asked), answer(id_, b"ok"))
    await _check_answer(t, last, b"ok")
    await _check_room(t, peer)


@case("requests/call/late-answers", "REQ-12", needs="requests concurrent cancel")
async def late_answers(t: Trial) -> None:
    """Answers to cancelled calls are dropped, also those that come long after."""
    peer = RequestPeer(await t.meet())
    late = []
    for _ in range(20):
        call = t.begin("call", payload="6c617465")
        late.append(await peer.expect_request(b"late"))
        await t.do("cancel", of=call.id)
        t.check_error(await t.answer(call), "cancelled", call.text)
        await peer.expect(Message(CANCEL, late[-1]))
    for number, id_ in enumerate(late):
        call = t.begin("call", payload=f"{number:02x}")
        own = await peer.expect_request(bytes([number]))
        late_one = error(id_, "late") if number % 2 else answer(id_, b"late")
        await peer.send(late_one, answer(own, b"own"))
        await _check_answer(t, call, b"own")
    await _check_room(t, peer)
