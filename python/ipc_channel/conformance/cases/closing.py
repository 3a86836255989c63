"""Closing over TCP: what it keeps, what it still reads, and what it frees."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ipc_channel.conformance import processes
from ipc_channel.conformance.case import Body, CaseFailedError, case, over
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.trial import Trial

_DRAINING = over(drains_before_close=True)
_CLOSE_WAIT = 8  # the state of a connection whose other end has ended its direction
_LARGE = 20 * 2**20
_MUCH = frame(bytes(2**16))


@case("lifecycle/close/ends-its-stream", "SES-35", needs="linger", transports=_DRAINING)
async def ends_its_stream(t: Trial) -> None:
    """The stream ends right after the close frame, not only when the socket is closed."""
    connecting = await t.connecting(timeout=t.patience, linger=3 * t.patience)
    await t.connected(connecting)
    closing = t.begin("close")
    # The server has not accepted it yet, so its socket stays open.
    await t.in_time(_half_closed(t), "shut down its writing side")
    peer = await t.accept()
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


async def _half_closed(t: Trial) -> None:
    """Wait until the kernel has received the end of the testee's stream."""
    port = int(t.paths()["in"])
    while (states := processes.tcp_states(port)) is not None:
        if _CLOSE_WAIT in states:
            return
        await asyncio.sleep(0.01)
    t.skip("this system does not show the state of a connection")


@case(
    "lifecycle/close/peer-that-never-stops", "SES-62", needs="linger", transports=_DRAINING
)
async def never_stops(t: Trial) -> None:
    """Close waits for the linger if the peer has everything but keeps sending."""
    peer = await t.meet(linger=0.3)
    peer.flood(_MUCH)
    closing = t.begin("close")
    await peer.expect_close()
    t.check_ok(await t.answer(closing), "close")


@case(
    "lifecycle/close/peer-that-only-sends",
    "SES-62",
    needs="concurrent linger",
    transports=_DRAINING,
)
async def only_sends(t: Trial) -> None:
    """Close waits for the linger if the peer takes nothing but keeps sending."""
    peer = await t.meet(linger=0.3)
    writing = t.begin("write", **write(_LARGE))
    await peer.receive(4)
    peer.flood(_MUCH)
    await t.do("close")
    t.check_error(await t.answer(writing), "closed", "write")


@case(
    "lifecycle/close/peer-that-takes-no-more",
    "SES-62",
    needs="concurrent linger",
    transports=_DRAINING,
)
async def takes_no_more(t: Trial) -> None:
    """Close waits for the linger if the peer stays, with output unread in the kernel."""
    peer = await t.meet(linger=0.3)
    if peer.sock is not None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writing = t.begin("write", **write(200_000))  # which fits into the testee's system
    await peer.receive(4)
    peer.flood(_MUCH)
    await t.do("close")
    await t.answer(writing)


@case(
    "lifecycle/close/peer-that-has-said-its-last",
    "SES-60",
    "SES-63",
    needs="concurrent linger",
    transports=_DRAINING,
)
async def said_its_last(t: Trial) -> None:
    """A silent peer that has closed but not yet read all output still gets it."""
    peer = await t.meet(linger=3 * t.patience)
    if peer.sock is not None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writing = t.begin("write", **write(200_000))  # which fits into the testee's system
    await peer.send(CLOSE)
    await t.reads_end("clean")
    closing = t.begin("close")
    for _ in range(10):
        await t.settle()
    early = closing.reply.done()
    for _ in range(2):  # a single byte is input too; it resets a socket that is closed
        await peer.send(b"x")
        for _ in range(5):
            await t.settle()
    await peer.expect_message(payload(200_000))
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    await t.answer(writing)  # success, or `closed` if the close came before it was done
    t.expect(not early, "close, before the peer has taken all", "waits", "done")


def _leaves(*, reset: bool) -> Body:
    async def leaves(t: Trial) -> None:
        peer = await t.meet(linger=3 * t.patience)
        if peer.sock is not None:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writing = t.begin("write", **write(200_000))  # which fits into the testee's system
        await peer.receive(4)
        closing = t.begin("close")
        for _ in range(5):
            await t.settle()
        # The peer has not taken all, so its silence must not end the close (SES-63).
        early = closing.reply.done()
        if reset:
            peer.reset()
        else:
            peer.end_writing()
        t.check_ok(await t.answer(closing), "close")
        t.expect(not early, "close, before the peer has taken all", "waits", "done")
        await t.answer(writing)

    return leaves


for _deed, _text in (("ends-its-direction", "ends its direction"), ("resets", "resets")):
    case(
        f"lifecycle/close/peer-that-{_deed}",
        "SES-61",
        needs="concurrent linger",
        transports=_DRAINING,
        text=f"A peer that {_text} is not waited for any more, however long the linger.",
    )(_leaves(reset=_deed == "resets"))


@case(
    "lifecycle/close/before-it-is-let-in",
    "SES-60",
    "SES-63",
    needs="linger",
    transports=_DRAINING,
)
async def before_let_in(t: Trial) -> None:
    """While no process has accepted the connection, silence does not end the close."""
    connecting = await t.connecting(timeout=t.patience, linger=3 * t.patience)
    await t.connected(connecting)
    closing = t.begin("close")
    for _ in range(10):
        await t.settle()
    t.expect(
        not closing.reply.done(), "close before the server has accepted", "waits", "done"
    )
    peer = await t.accept()
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")


async def _stuck_after(t: Trial, end: str, error: str | None, sent: bytes) -> None:
    """Make the peer end, keep sending more than the buffers hold, and only then read."""
    peer = await t.meet()
    size = 3_000_000
    writing = t.begin("write", **write(size))
    header = await peer.receive(4)
    t.expect(header == size.to_bytes(4, "big"), "the header", size, header.hex(" "))
    stuck = t.spawn(peer.send(sent))
    await t.reads_end(end, error)
    closing = t.begin("close")
    try:
        await stuck
    except OSError:
        raise CaseFailedError(
            "what a peer sends as the testee closes",
            "is read and dropped",
            "lost its reader",
        ) from None
    got = await peer.receive(size)
    t.expect(got == payload(size), "what the peer got", "the message", f"{len(got)} bytes")
    await peer.expect_close()
    peer.close()
    await t.answer(writing)
    t.check_ok(await t.answer(closing), "close")


@case("lifecycle/close/peer-that-breaks-the-limit", "SES-34", "SES-37", needs="concurrent")
async def breaks_the_limit(t: Trial) -> None:
    """A peer that is blocked in sending a message over the limit still gets everything."""
    await _stuck_after(t, "too_large", "too-large", b"\xff" * _LARGE)


@case(
    "lifecycle/close/peer-that-sends-after-its-end",
    "SES-34",
    needs="concurrent",
    transports=over(drains_before_close=False),
)
async def sends_after_its_end(t: Trial) -> None:
    """A peer that is blocked in sending after its close frame still gets everything."""
    await _stuck_after(t, "clean", None, CLOSE + b"\xff" * _LARGE)


@case("lifecycle/close/before-the-end-is-read", "SES-6")
async def before_the_end(t: Trial) -> None:
    """A close before the last message is read makes the end local, whatever the peer did."""
    peer = await t.meet()
    await peer.send(frame(b"read") + frame(b"unread") + CLOSE)
    await t.reads(b"read")
    closing = t.begin("close")
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    reply = await t.tell("read")
    t.expect(reply.get("end") == "local", "the end of a read", "'local'", reply)


def _keeps(end: str, error: str | None, wire: bytes, *, reset: bool = False) -> Body:
    async def keeps(t: Trial) -> None:
        peer = await t.meet()
        await peer.send(frame(b"first") + wire)
        await t.reads(b"first")
        if reset:
            peer.reset()
        elif end != "too_large":
            peer.end_writing()
        await t.reads_end(end, error)
        closing = t.begin("close")
        if not reset:
            await peer.expect_close()
        peer.close()
        t.check_ok(await t.answer(closing), "close")
        await t.reads_end(end, error)

    return keeps


_ENDS: dict[str, dict[str, Any]] = {
    "clean": {"error": None, "wire": CLOSE},
    "eof": {"error": None, "wire": b""},
    "truncated": {"error": "truncated", "wire": frame(b"cut")[:-1]},
    "too_large": {"error": "too-large", "wire": b"\xff\xff\xff\xff"},
    "reset": {"error": "reset", "wire": b"", "reset": True},
}
for _end, _how in _ENDS.items():
    case(
        f"lifecycle/close/keeps-the-end/{_end.replace('_', '-')}",
        "SES-1",
        transports=over(can_reset=True) if _end == "reset" else over(),
        text=f"A session that ended as {_end} is told so after its close as well.",
    )(_keeps(_end, **_how))


@case("lifecycle/close/cancelled", "SES-32", needs="cancel concurrent linger")
async def cancelled(t: Trial) -> None:
    """A close leaves nothing open, cancelled or not; closing again is legal."""
    await t.tell("connect", **await t.absent(), timeout=0)
    before = t.descriptors()
    t.appear()
    peer = await t.meet(linger=t.patience / 5)
    writing = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    closing = t.begin("close")
    await t.settle()
    await t.do("cancel", of=closing.id)
    reply = await t.answer(closing)
    if "error" in reply:
        t.check_error(reply, "cancelled", "close")
    await t.no_more_descriptors_than(before)
    await t.answer(writing)
    got = await peer.receive_until_end(int.from_bytes(header, "big"))
    t.expect(len(got) < _LARGE, "what the peer got", "a part", "everything")
    await t.do("close")
