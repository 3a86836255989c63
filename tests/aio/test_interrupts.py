"""An exception at any point of a write, a read or a close, as of a signal handler.

Whatever is raised, and wherever, no message comes twice, torn or out of order, and
none is lost in the middle: a session that cannot know where it is ends with an error.
"""

from __future__ import annotations

import _weakrefset
import asyncio
import gc
import os
import random
import signal
import socket
import warnings
import weakref
from collections.abc import Iterator
from types import FrameType

import pytest
import uvloop

import flood
from flood import PATIENCE, Flood, Interrupt, ThreadedWire, Wire, message, run
from injector import PACKAGE, Injector, release_locks

# Where a message has left the session, and the reader is about to get it.
HANDING_OVER = (
    "Inbox.read_nowait",
    "Inbox._take_last",
    "Inbox.read",
    "Endpoint.read",
)
# A callback that the loop has taken off its queue is lost if the exception strikes just
# there. No code of ours could know of it.
FORGOTTEN = ("BaseEventLoop.", "Handle.")
# A descriptor on its way to being closed, likewise.
LEAKING = ("PipeStream.release",)


def interrupt_at(transport: str, kind: str, due: int) -> None:
    """Run a flood that is interrupted once, and check it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # tasks that are lost, and their errors
    flood = Flood(Wire(transport), kind, loop)
    injector = Injector(due)
    try:
        try:
            with injector:
                loop.run_until_complete(flood.work())
        except Interrupt:
            pass
        place = injector.at or ""
        if place in LEAKING:
            return
        if place.startswith(FORGOTTEN):
            flood.leave_off()
        run(loop, flood.go_on())
        flood.check(missing=1 if place in HANDING_OVER else 0)
    except AssertionError as error:
        error.add_note(f"interrupted at {injector.at}, opcode event {due}")
        raise
    finally:
        close(loop, flood)


def close(loop: asyncio.AbstractEventLoop, flood: Flood) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    run(loop, asyncio.sleep(0))
    run(loop, flood.channel.close())
    flood.wire.close()
    flood.forget()
    loop.close()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let coroutines and tasks that an interrupt has cut short go without a word.

    So, too, the netlink socket of an interrupted question for the peer's user: no call
    can both open it and keep it, and the garbage collector closes it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.filterwarnings(
            "ignore",
            f"unclosed <socket.* family={int(socket.AF_NETLINK)},",
            ResourceWarning,
        )
        gc.collect()
        gc.disable()  # what is collected under a trace function is no part of this
        yield
        gc.enable()
        gc.collect()
        release_locks()


def every_opcode(transport: str, kind: str) -> list[int]:
    """Return when, in a flood without an interrupt, each opcode runs first."""
    loop = asyncio.new_event_loop()
    flood = Flood(Wire(transport), kind, loop)
    with Injector(0) as injector:
        loop.run_until_complete(flood.work())
    run(loop, flood.go_on())
    flood.check(missing=0)
    close(loop, flood)
    if os.environ.get("EVERY"):  # each time that it runs: takes minutes
        return list(range(1, len(injector.passed) + 1))
    first: dict[tuple[str, int], int] = {}
    places = [place for place, _ in injector.passed]
    begin = places.index("Endpoint.close") if kind == "close" else 0
    for due, place in list(enumerate(injector.passed, 1))[begin:]:
        first.setdefault(place, due)
    return sorted(first.values())


@pytest.mark.timeout(600)  # a minute where nothing else runs
@pytest.mark.parametrize("kind", ["write", "read", "close"])
def test_at_every_opcode(transport: str, kind: str) -> None:
    dues = every_opcode(transport, kind)
    assert len(dues) > 300
    for count, due in enumerate(dues):
        interrupt_at(transport, kind, due)
        if count % 100 == 0:
            gc.collect()


INTERRUPTS = int(os.environ.get("INTERRUPTS", "200"))
OWN = {__file__, flood.__file__}
SIZES_AT_RANDOM = [8, 8, 8, 100, 5000, 70_000, 2**20]
NOT_THERE = {
    # Its callbacks run in the garbage collector, where Python drops every exception.
    weakref.__file__,
    _weakrefset.__file__,
    # uvloop is of no use any more if it is interrupted as it begins, or ends, to run.
    socket.__file__,
}
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class AtRandom:
    """Raises :class:`Interrupt` from a signal handler, once a time that it is armed.

    Where the code of the tests runs, it waits until that is over: what the tests have
    in hand then would be lost.
    """

    def __init__(self) -> None:
        self.struck: list[str] = []
        """Functions of the package that an interrupt struck, or "" for the loop alone."""
        self.spares_the_loop = False

    def arm(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def handle(self, number: int, frame: FrameType | None) -> None:
        place = self._place(frame)
        if place is None:
            self.arm(0.00005)
        else:
            self.struck.append(place)
            raise Interrupt

    def _place(self, frame: FrameType | None) -> str | None:
        """Return what is to be struck, or None if nothing is."""
        if frame is None or frame.f_code.co_filename in NOT_THERE:
            return None
        while frame is not None and frame.f_code is not Run.turn.__code__:
            if frame.f_code.co_filename.startswith(PACKAGE):
                return frame.f_code.co_qualname
            if frame.f_code.co_filename in OWN:
                return None
            frame = frame.f_back
        return None if self.spares_the_loop else ""


@pytest.fixture
def at_random() -> Iterator[AtRandom]:
    moments = AtRandom()
    before = signal.signal(signal.SIGALRM, moments.handle)
    yield moments
    moments.arm(0)
    signal.signal(signal.SIGALRM, before)


class Run:
    """A flood that is interrupted, and goes on, until it or its session has ended."""

    def __init__(
        self, rng: random.Random, transport: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        loop.set_exception_handler(lambda *_: None)
        kind = rng.choice(["write", "read", "both"])
        messages = [message(n, rng.choice(SIZES_AT_RANDOM)) for n in range(40)]
        wire = ThreadedWire(transport)
        self.flood = Flood(wire, kind, loop, messages)
        self.loop = loop
        self.tasks: dict[str, asyncio.Task[None]] = {}
        wire.start()

    def start(self) -> None:
        """Have what an interrupt has ended go on, and nothing else."""
        for name in ("write", "read"):
            task = self.tasks.get(name)
            interrupted = task is None or (task.done() and is_interrupted(task))
            if self.flood.kind in (name, "both") and interrupted:
                work = self.flood.write_all if name == "write" else self.flood.read_all
                self.tasks[name] = self.loop.create_task(work())

    def turn(self, moments: AtRandom, seconds: float) -> None:
        """Run the loop until an interrupt, or the end of the flood."""

        def stop(*_: object) -> None:
            if all(task.done() for task in self.tasks.values()):
                moments.arm(0)
                self.loop.stop()

        for task in self.tasks.values():
            task.add_done_callback(stop)
        began = self.loop.time()
        patience = self.loop.call_later(PATIENCE, self.loop.stop)
        try:
            moments.arm(seconds)
            self.loop.run_forever()
            moments.arm(0)
        except Interrupt:
            moments.arm(0)
        patience.cancel()
        for task in self.tasks.values():
            task.remove_done_callback(stop)
        assert self.loop.time() < began + PATIENCE, f"{self.tasks} hang"

    @property
    def over(self) -> bool:
        return all(t.done() and not is_interrupted(t) for t in self.tasks.values())

    def finish(self) -> None:
        if self.flood.kind != "close":
            self.flood.tasks = list(self.tasks.values())
        run(self.loop, self.flood.go_on())
        self.flood.check(missing=0)
        close(self.loop, self.flood)


def is_interrupted(task: asyncio.Task[None]) -> bool:
    return isinstance(task.exception(), Interrupt)


def run_with_interrupts(one: Run, rng: random.Random, moments: AtRandom) -> None:
    before = len(moments.struck)
    # Where the loop is struck, it may forget a task; where it is not, none may hang.
    moments.spares_the_loop = rng.random() < 0.7
    try:
        while not one.over or not one.tasks:
            one.start()
            count = len(moments.struck)
            one.turn(moments, rng.uniform(0.0001, 0.004))
            if "" in moments.struck[count:]:
                one.flood.leave_off()
                break
        one.finish()
    except BaseException as error:
        error.add_note(f"interrupted in {moments.struck[before:]}")
        raise


@pytest.mark.timeout(100 + INTERRUPTS / 5)
@pytest.mark.parametrize("loop", LOOPS)
def test_at_random_moments(transport: str, loop: str, at_random: AtRandom) -> None:
    rng = random.Random(f"{transport} {loop} {os.environ.get('SEED')}")
    floods = 0
    while len(at_random.struck) < INTERRUPTS:
        one = Run(rng, transport, LOOPS[loop]())
        run_with_interrupts(one, rng, at_random)
        floods += 1
        if floods % 20 == 0:
            gc.collect()
    ours = sum(map(bool, at_random.struck))
    print(f"{len(at_random.struck)} interrupts, {ours} in the package, of {floods} floods")
    assert ours > INTERRUPTS / 10
