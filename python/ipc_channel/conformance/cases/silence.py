"""How long a peer that has everything must be silent before close may leave it.

The silence right behind the shutdown cannot be measured: the peer's system may take 40 ms
to acknowledge the end of the stream, before which a client does not count it.
"""

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
_TRIES = 5
_SLOW = 30  # attempts, some of which a busy machine may spoil
_BYTES = 5  # from a peer that is never silent for long; a client may poll each 50 ms


async def _let_in(t: Trial) -> Wire:
    """Connect the testee to a server that has accepted it, as the testee knows."""
    peer = await t.meet(linger=3 * t.patience)
    await peer.send(frame(b"let in"))
    await t.reads(b"let in")
    return peer


def _check(t: Trial, since: float) -> None:
    """Fail if close took too little time; a busy machine can only make it longer."""
    silent = time.monotonic() - since
    t.expect(
        silent > _SILENCE - _EARLY,
        "how long the peer was silent as the testee left it",
        f"{_SILENCE} s",
        f"{silent:.3f} s at most",
    )


@case(
    "lifecycle/close/silence-since-it-was-accepted",
    "RDV-48",
    "SES-60",
    "SES-63",
    needs="linger",
    transports=_DRAINING,
)
async def since_accepted(t: Trial) -> None:
    """A client that the server has just accepted stays for 50 ms of silence from then on.

    Only then is the server certain to have asked which user it is.
    """
    for _ in range(_TRIES):
        connecting = await t.connecting(timeout=t.patience, linger=3 * t.patience)
        await t.connected(connecting)
        closing = t.begin("close")
        for _ in range(4):
            await t.settle()
        accepted = time.monotonic()  # or later
        peer = await t.accept()
        await asyncio.wait({closing.reply}, timeout=3 * _SILENCE)
        if closing.reply.done():
            _check(t, accepted)
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
    """Each byte from a peer that has everything restarts its silence of 50 ms."""
    counted = 0
    for _ in range(_SLOW):
        counted += await _speaks_in_time(t)
        if counted == _TRIES:
            return
    t.skip("this machine is too slow to send a byte within 50 ms")


async def _speaks_in_time(t: Trial) -> bool:
    """Send byte after byte after the shutdown, and check the silence after the last one.

    Returns False if it was too late once: the testee may have left by then.
    """
    peer = await _let_in(t)
    spoken = time.monotonic()
    closing = t.begin("close")
    await peer.expect_close()
    in_time = True
    for _ in range(_BYTES):
        left = spoken + 0.6 * _SILENCE - time.monotonic()
        await asyncio.wait({closing.reply}, timeout=max(left, 0))
        if closing.reply.done():
            break
        before, spoken = spoken, time.monotonic()
        with contextlib.suppress(ConnectionError):  # a wrong testee has closed already
            await peer.send(b"x")
        in_time = in_time and time.monotonic() < before + 0.8 * _SILENCE
    await asyncio.wait({closing.reply}, timeout=3 * _SILENCE)
    if in_time:
        _check(t, spoken)
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    return in_time
