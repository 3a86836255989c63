"""How long a peer that has everything has to be silent before a close may leave it."""

from __future__ import annotations

import asyncio
import contextlib
import time

from ipc_channel.conformance.case import case, over
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire

_DRAINING = over(drains_before_close=True)
_SILENCE = 0.05  # seconds (SES-63)
_EARLY = 0.002  # seconds by which a timer may be early
_TRIES = 10
_SLOW = 30  # tries in which a busy machine may have been too slow


async def _let_in(t: Trial) -> Wire:
    """Connect the testee to a server that has let it in, as it knows."""
    peer = await t.meet(linger=3 * t.patience)
    await peer.send(frame(b"let in"))
    await t.reads(b"let in")
    return peer


def _check(t: Trial, since: float) -> None:
    """Fail if too little time has passed; a busy machine only adds to it."""
    silent = time.monotonic() - since
    t.expect(
        silent > _SILENCE - _EARLY,
        "how long the peer was silent as the testee left it",
        f"{_SILENCE} s",
        f"{silent:.3f} s at most",
    )


@case(
    "lifecycle/close/silence-since-the-shutdown",
    "SES-60",
    "SES-63",
    needs="linger",
    transports=_DRAINING,
)
async def since_the_shutdown(t: Trial) -> None:
    """A peer that has everything is not left before it was silent for 50 ms."""
    for _ in range(_TRIES):
        peer = await _let_in(t)
        start = time.monotonic()
        closing = t.begin("close")
        await asyncio.wait({closing.reply}, timeout=3 * _SILENCE)
        _check(t, start)
        peer.close()
        t.check_ok(await t.answer(closing), "close")


@case(
    "lifecycle/close/silence-since-its-last-byte",
    "SES-60",
    "SES-63",
    needs="linger",
    transports=_DRAINING,
)
async def since_its_last_byte(t: Trial) -> None:
    """Each byte of a peer that has everything makes its silence of 50 ms count anew."""
    counted = 0
    for _ in range(_SLOW):
        counted += await _speaks_in_time(t)
        if counted == _TRIES:
            return
    t.skip("this machine is too slow to speak within 50 ms")


async def _speaks_in_time(t: Trial) -> bool:
    """Speak behind the shutdown, and check the silence that follows.

    Returns False if it was too late: the testee may have left by then.
    """
    peer = await _let_in(t)
    start = time.monotonic()
    closing = t.begin("close")
    await peer.expect_close()
    await asyncio.sleep(start + 0.6 * _SILENCE - time.monotonic())
    spoken = time.monotonic()
    with contextlib.suppress(ConnectionError):  # which is what a wrong one has closed
        await peer.send(b"more")
    in_time = time.monotonic() < start + 0.8 * _SILENCE
    await asyncio.wait({closing.reply}, timeout=3 * _SILENCE)
    if in_time:
        _check(t, spoken)
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    return in_time
