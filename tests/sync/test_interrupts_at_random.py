"""Exceptions of signal handlers at random moments of a flood."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from blocking import Call
from blocking_flood import BlockingFlood
from flood import Interrupt, ThreadedWire
from injector import PACKAGE, release_locks

INTERRUPTS = int(os.environ.get("INTERRUPTS", "200"))


class AtRandom:
    """Raises :class:`Interrupt` where the package runs, a while after it was armed."""

    def __init__(self) -> None:
        self.struck: list[str] = []
        self.armed = False

    def arm(self, seconds: float) -> None:
        """Raise about so many seconds from now; for 0, not at all."""
        self.armed = bool(seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def handle(self, number: int, frame: FrameType | None) -> None:
        if not self.armed:
            return  # a signal from before, handled late
        if frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
            self.armed = False
            self.struck.append(frame.f_code.co_qualname)
            raise Interrupt
        self.arm(0.00005)


@pytest.fixture
def at_random() -> Iterator[AtRandom]:
    moments = AtRandom()
    before = signal.signal(signal.SIGALRM, moments.handle)
    yield moments
    moments.arm(0)
    signal.signal(signal.SIGALRM, before)
    release_locks()


def leave(wire: ThreadedWire) -> None:
    """Close the peer's end once ours has ended: ours waits for that over TCP."""
    wire.join()
    wire.close()


def run(kind: str, transport: str, rng: random.Random, moments: AtRandom) -> None:
    """Have a flood interrupted again and again until it is over, and check it."""
    wire = ThreadedWire(transport)
    flood = BlockingFlood(wire, kind, acts=False)
    wire.start()
    struck = len(moments.struck)
    try:
        while True:
            try:
                moments.arm(rng.uniform(0.0001, 0.003))
                flood.work_on()
                moments.arm(0)
                break
            except Interrupt:
                pass
        leaving = Call(leave, wire)
        flood.go_on()
        leaving.result()
        flood.check(missing=0)
    except BaseException as error:
        error.add_note(f"interrupted in {moments.struck[struck:]}")
        raise
    finally:
        moments.arm(0)
        flood.forget()


@pytest.mark.timeout(100 + INTERRUPTS / 5)
def test_at_random_moments(transport: str, at_random: AtRandom) -> None:
    rng = random.Random(f"{transport} {os.environ.get('SEED')}")
    floods = 0
    while len(at_random.struck) < INTERRUPTS:
        run(rng.choice(["write", "write_many", "read"]), transport, rng, at_random)
        floods += 1
    print(f"{len(at_random.struck)} interrupts of {floods} floods")
