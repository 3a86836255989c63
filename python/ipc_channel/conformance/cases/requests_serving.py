"""Requests that the testee answers."""

from __future__ import annotations

from ipc_channel.conformance.case import case
from ipc_channel.conformance.payloads import payload
from ipc_channel.conformance.request_peer import (
    ANSWER,
    REQUEST,
    answer,
    cancel,
    error,
    is_error,
    request,
    serve,
)
from ipc_channel.conformance.trial import Trial

_MOST = 1024  # unanswered requests
_MANY = 300  # requests
_IDS = 8  # that are used again and again
_ROUNDS = 100
_LARGE = 2**20  # bytes
_LARGEST = 3_000_000


@case("requests/serve/each-once", "REQ-6", "REQ-9", needs="requests")
async def each_once(t: Trial) -> None:
    """Three hundred requests at once are answered once each, also those that fail."""
    peer, _ = await serve(t, concurrency=8)
    asked = {number: b"%c%d" % (b"efx"[number % 3], number) for number in range(_MANY)}
    peer.deliver(*(request(number, one) for number, one in asked.items()))
    while asked:
        got = await peer.receive()
        t.expect(got.id in asked, "an answer to a request", "only one", got)
        expected = asked.pop(got.id)
        if expected.startswith(b"x"):
            t.expect(is_error(got, got.id, "failed"), "the answer", "failed", got)
            t.expect(len(got.body) > 7, "the text of a failure", "some", "none")
        else:
            kind, text = expected[:1], expected[1:]
            fails = error(got.id, text.decode())
            right = answer(got.id, text) if kind == b"e" else fails
            t.expect(got == right, "the answer", right, got)
    await peer.send(request(_MANY, b"eend"))
    await peer.expect(answer(_MANY, b"end"))


@case("requests/serve/same-id", "REQ-6", needs="requests")
async def same_id(t: Trial) -> None:
    """An id may be used again as soon as its request is answered."""
    peer, _ = await serve(t, concurrency=_IDS)
    await peer.send(*(request(id_, b"e0") for id_ in range(_IDS)))
    count = [0] * _IDS
    while any(one < _ROUNDS for one in count):
        got = await peer.receive()
        number = count[got.id] if got.id < _IDS else 0
        right = answer(got.id, b"%d" % number)
        t.expect(got == right, "the answer", right, got)
        count[got.id] += 1
        if count[got.id] < _ROUNDS:
            await peer.send(request(got.id, b"e%d" % count[got.id]))


@case("requests/serve/busy", "REQ-7", needs="requests")
async def busy(t: Trial) -> None:
    """Of 1,025 requests, the last is answered with busy, and the others are handled."""
    peer, _ = await serve(t, concurrency=4)
    await peer.send(*(request(number, b"w") for number in range(_MOST)))
    await peer.send(request(_MOST, b"eone too many"))
    await peer.expect_error(_MOST, "busy")
    peer.deliver(*(cancel(number) for number in range(_MOST)))
    await peer.expect_errors("cancelled", *range(_MOST))
    await peer.send(request(_MOST, b"eroom again"))
    await peer.expect(answer(_MOST, b"room again"))


@case("requests/serve/cancels-meanwhile", "REQ-11", needs="requests")
async def cancels_meanwhile(t: Trial) -> None:
    """While handlers run, a cancel reaches the one that it is for."""
    peer, _ = await serve(t, concurrency=4)
    await peer.start_handlers(1, 2, 3, 4)
    for number in (3, 1, 4, 2):
        await peer.send(cancel(number))
        await peer.expect_error(number, "cancelled")


@case("requests/serve/reads-while-answers-wait", "REQ-11", needs="requests")
async def reads_while_answers_wait(t: Trial) -> None:
    """The testee reads more than buffers hold while the peer does not take its answers."""
    peer, _ = await serve(t, concurrency=4)
    for number in range(4):
        await peer.send(request(number, b"l%d" % _LARGEST))
    for number in range(4, 12):
        await peer.send(request(number, b"e" + payload(_LARGE)))
    await peer.expect_each(
        *(answer(number, b"l" * _LARGEST) for number in range(4)),
        *(answer(number, payload(_LARGE)) for number in range(4, 12)),
    )


@case("requests/serve/reads-while-errors-wait", "REQ-11", needs="requests")
async def reads_while_errors_wait(t: Trial) -> None:
    """The testee reads on while as many errors as there may be wait for the peer to read."""
    peer, _ = await serve(t, concurrency=1)
    await peer.send(request(0, b"l%d" % _LARGEST))
    cancelled, larger = range(1, _MOST - 8), range(_MOST - 8, _MOST)
    await peer.send(*(request(number, b"w") for number in cancelled))
    await peer.send(*(cancel(number) for number in cancelled))
    for number in larger:
        await peer.send(request(number, b"e" + payload(_LARGE)))
    left = set(range(_MOST))
    while left:
        got = await peer.receive()
        t.expect(got.id in left, "an answer to a request", "only one", got)
        left.discard(got.id)
        if got.id in cancelled:
            right = is_error(got, got.id, "cancelled")
        elif got.id in larger:
            right = got == answer(got.id, payload(_LARGE))
        else:
            right = got == answer(0, b"l" * _LARGEST)
        t.expect(right, "the answer", "what was asked for", got)


@case("requests/serve/large-both-ways", "REQ-11", needs="requests concurrent")
async def large_both_ways(t: Trial) -> None:
    """Large requests and answers that cross do not wait for each other."""
    peer, _ = await serve(t, concurrency=4)
    calls = [t.begin("call", payload=payload(200_000).hex()) for _ in range(4)]
    for number in range(12):
        await peer.send(request(number, b"c" + payload(_LARGE)))
    for _ in range(12 + 16):
        got = await peer.receive()
        if got.kind == REQUEST:
            await peer.send(answer(got.id, got.body))
        else:
            right = got.kind == ANSWER and got.body == payload(_LARGE)
            t.expect(right, "the answer", "what was sent", got)
    for call in calls:
        reply = t.check_ok(await t.answer(call), call.text)
        right = reply.get("payload") == payload(200_000).hex()
        t.expect(right, "the answer to a call", "what was sent", "something else")


@case("requests/serve/called-off", "REQ-6", "REQ-8", needs="requests concurrent cancel")
async def called_off(t: Trial) -> None:
    """When serve is cancelled, what has arrived is answered, and the session goes on."""
    peer, serving = await serve(t, concurrency=2)
    await peer.start_handlers(1, 2)
    # Once the cancel is answered, request 4 has arrived as well. It may wait for its turn.
    await peer.send(request(3, b"w"), request(4, b"w"), cancel(1))
    await peer.expect_error(1, "cancelled")
    await t.do("cancel", of=serving.id)
    left = {2, 3, 4}
    while left:
        got = await peer.receive()
        codes = ("cancelled", "unserved")
        right = got.id in left and any(is_error(got, got.id, code) for code in codes)
        t.expect(right, f"an error to one of {left}", codes, got)
        left.discard(got.id)
    t.check_error(await t.answer(serving), "cancelled", serving.text)
    call = t.begin("call", payload="61")
    id_ = await peer.expect_request(b"a")
    await peer.send(request(5, b"e"), answer(id_, b"b"))
    await peer.expect_error(5, "unserved")
    t.check_ok(await t.answer(call), call.text)
