"""How long close waits for a peer that takes nothing, or little."""

from __future__ import annotations

import asyncio
import time

from ipc_channel.conformance.case import CaseFailedError, case, over
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire

_LARGE = 20 * 2**20
_SECOND = 0.98  # seconds: a timer may be a little early
_TRIES = 6  # of a measurement that a busy machine may delay


async def _time_to_close(t: Trial, linger: float | None) -> float:
    """Make the testee close while the peer takes nothing of a large message."""
    peer = await t.meet(linger=linger)
    writing = t.begin("write", **write(_LARGE))
    await peer.receive(4)
    start = time.monotonic()
    await t.do("close")
    took = time.monotonic() - start
    peer.close()
    t.check_error(await t.answer(writing), "closed", "write")
    t.renew()
    return took


async def _close_in(t: Trial, linger: float, limit: float) -> None:
    """Fail unless at least one of several closes takes less than ``limit``."""
    tries: list[float] = []
    while len(tries) < _TRIES:
        tries.append(await _time_to_close(t, linger))
        if tries[-1] < limit:
            return
    raise CaseFailedError(
        f"the time to close, with a linger of {linger} s and a peer that takes nothing",
        f"< {limit} s in one of {_TRIES} tries",
        f"{min(tries):.2f} s at best",
    )


@case("lifecycle/close/short-linger", "SES-31", needs="concurrent linger")
async def short_linger(t: Trial) -> None:
    """With a linger of 0.1 s, close gives up long before the default of one second."""
    await _close_in(t, 0.1, 0.9)


@case("lifecycle/close/one-linger", "SES-31", "SES-62", needs="concurrent linger")
async def one_linger(t: Trial) -> None:
    """Close waits the linger only once, not again after it has ended the stream."""
    await _close_in(t, 1, 1.8)


@case("lifecycle/close/default-linger", "SES-50", needs="concurrent")
async def default_linger(t: Trial) -> None:
    """By default, close waits one second for a peer that takes nothing."""
    tries: list[float] = []
    while len(tries) < _TRIES:
        tries.append(await _time_to_close(t, None))
        t.expect(tries[-1] > _SECOND, "the time to close", "1 s", f"{tries[-1]:.2f} s")
        if tries[-1] < 2 * _SECOND:
            return
    t.expect(False, f"the time to close, at best of {_TRIES}", "1 s", f"{min(tries):.2f} s")


@case("lifecycle/close/no-linger", "SES-53", needs="linger")
async def no_linger(t: Trial) -> None:
    """With a linger of 0, all output and the close frame still reach a peer that reads."""
    peer = await t.meet(linger=0)
    await t.do("write", **write(1000, count=3))
    await t.do("close")
    for _ in range(3):
        await peer.expect_message(payload(1000))
    await peer.expect_close()


@case(
    "lifecycle/close/no-linger-waits-for-nothing",
    "SES-53",
    level="SHOULD",
    needs="concurrent linger",
)
async def waits_for_nothing(t: Trial) -> None:
    """With a linger of 0, close does not wait for a peer that takes nothing."""
    await _close_in(t, 0, 0.5)


@case("lifecycle/close/long-linger", "SES-31", needs="concurrent linger")
async def long_linger(t: Trial) -> None:
    """With a longer linger, a peer that pauses longer than the default gets everything."""
    peer = await t.meet(linger=3 * t.patience)
    writing = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    closing = t.begin("close")
    await asyncio.sleep(1.5)
    t.expect(not closing.reply.done(), "close before the linger is over", "waits", "done")
    got = await peer.receive(int.from_bytes(header, "big"))
    t.expect(
        got == payload(_LARGE), "what the peer got", "the message", f"{len(got)} bytes"
    )
    await peer.expect_close()
    peer.close()
    await t.answer(writing)
    t.check_ok(await t.answer(closing), "close")


async def _read_slowly(peer: Wire, size: int, pause: float, seconds: float) -> float:
    """Read ``size`` bytes after each pause; return the longest time between two reads."""
    longest, start = 0.0, time.monotonic()
    last = start
    while last < start + seconds:
        await asyncio.sleep(pause)
        await peer.receive(size)
        longest = max(longest, time.monotonic() - last)
        last = time.monotonic()
    return longest


@case(
    "lifecycle/close/any-progress-counts",
    "SES-52",
    level="SHOULD",
    needs="concurrent linger",
    # Not over sockets, of which the kernel counts whole buffers of 32 KiB and more.
    transports=over(single_stream=False),
)
async def any_progress(t: Trial) -> None:
    """A peer that reads a page at a time, with pauses below the linger, gets everything."""
    linger = 1.5
    for _ in range(_TRIES):
        peer = await t.meet(linger=linger)
        writing = t.begin("write", **write(_LARGE))
        await peer.receive(4)
        closing = t.begin("close")
        page = 4096
        slowest = await _read_slowly(peer, page, linger / 10, 2.5 * linger)
        early = closing.reply.done()
        peer.close()
        await t.answer(writing)
        await t.answer(closing)
        t.renew()
        if not early:
            return
        if slowest < linger / 2:
            raise CaseFailedError(
                f"close, while the peer takes {page} bytes every {linger / 10} s",
                "waits",
                "done",
            )
    t.skip("this machine is too slow to read steadily")


@case("lifecycle/close/linger-counts-anew", "SES-51", needs="concurrent linger")
async def linger_counts_anew(t: Trial) -> None:
    """A peer that reads steadily for longer than the linger gets everything."""
    linger = 1.0
    while (missed := await _read_steadily(t, linger)) is not None:
        got, longest = missed
        t.expect(
            longest > linger / 2 and linger < t.patience,
            f"what a peer got that read 2 MiB every {linger / 5} s, with a linger of {linger} s",
            f"all {_LARGE} bytes of the message",
            f"{got} bytes, the slowest step took {longest:.2f} s",
        )
        linger *= 2  # the machine was too busy for steady reads


async def _read_steadily(t: Trial, linger: float) -> tuple[int, float] | None:
    """Read a large message in steps of a fifth of the linger, while the testee closes.

    Returns how much came if it was not all, and the seconds of the slowest step.
    """
    t.renew()
    peer = await t.meet(linger=linger)
    writing = t.begin("write", **write(_LARGE))
    header = await peer.receive(4)
    closing = t.begin("close")
    size = int.from_bytes(header, "big")
    got, longest = bytearray(), 0.0
    while len(got) < size:
        start = time.monotonic()
        part = await peer.receive(min(2**21, size - len(got)))
        if not part:
            break
        got += part
        await asyncio.sleep(linger / 5)
        longest = max(longest, time.monotonic() - start)
    is_whole = got == payload(_LARGE)
    if is_whole:
        await peer.expect_close()
    peer.close()
    await t.answer(writing)
    t.check_ok(await t.answer(closing), "close")
    return None if is_whole else (len(got), longest)
