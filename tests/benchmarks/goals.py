"""What is to be reached, as ratios within one run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contenders import PEERS
from benchmarks.figures import Figures, Spread
from benchmarks.workloads import FIRST

BEST_PEER = "the best peer"


@dataclass(frozen=True)
class Goal:
    """``ours`` must be within ``bound`` of ``theirs``, both as time per message.

    ``faster`` turns it round: ``theirs`` must be at least ``bound`` times ours.
    Without ``theirs`` the bound is in milliseconds. The best peer is the one with
    the smallest median over the run.
    """

    workload: str
    ours: str
    bound: float
    theirs: str = ""
    faster: bool = False
    what: str = "wall"
    against: str = ""  # the workload of theirs, if it is another one

    def text(self, figures: Figures) -> str:
        if not self.theirs:
            return f"≤ {self.bound:g} ms"
        theirs = self.theirs
        if theirs == BEST_PEER and (name := self._opponent(figures)):
            theirs += f" ({name})"
        if self.faster:
            return f"≥ {self.bound:g} × as fast as {theirs}"
        return f"≤ {self.bound:g} × {self.against or theirs}"

    @property
    def work(self) -> str:
        return self.workload + (", CPU" if self.what == "cpu" else "")

    def measured(self, figures: Figures) -> Spread | None:
        """Return what is to be compared with the bound, or None if it was not measured."""
        if not self.theirs:
            return _scaled(figures.spread(self.ours, self.workload), 1e-6)
        theirs = self._opponent(figures), self.against or self.workload
        found = figures.ratio((self.ours, self.workload), theirs, self.what)
        return _turned(found) if self.faster else found

    def met(self, figures: Figures) -> bool | None:
        """Return whether it is; None if that is unclear, or nothing was measured."""
        measured = self.measured(figures)
        return None if measured is None else measured.within(self._allows)

    def _opponent(self, figures: Figures) -> str:
        if self.theirs != BEST_PEER:
            return self.theirs
        return figures.best(PEERS, self.workload, self.what) or ""

    def _allows(self, value: float) -> bool:
        return value >= self.bound if self.faster else value <= self.bound


def _scaled(spread: Spread | None, factor: float) -> Spread | None:
    if spread is None:
        return None
    low, high = spread.low * factor, spread.high * factor
    return Spread(spread.median * factor, low, high, spread.rounds)


def _turned(spread: Spread | None) -> Spread | None:
    if spread is None:
        return None
    return Spread(1 / spread.median, 1 / spread.high, 1 / spread.low, spread.rounds)


def _pipe_and_tcp(workload: str, bound: float, theirs: str, *, faster: bool) -> list[Goal]:
    return [
        Goal(workload, f"ipc-{short}-asyncio", bound, theirs.format(short), faster=faster)
        for short in ("pipe", "tcp")
    ]


def _helpers() -> list[Goal]:
    return [
        Goal("rt-64", f"{language}-{short}", 1.2, f"ipc-{short}-asyncio")
        for language in ("go", "node")
        for short in ("pipe", "unix", "tcp")
    ]


def _unix() -> list[Goal]:
    """What speaks for Unix sockets: no size is slower than TCP, large ones beat pipes."""
    ours, tcp = "ipc-unix-asyncio", "ipc-tcp-asyncio"
    sizes = ("64", "1k", "64k", "1m", "16m")
    return [
        Goal(FIRST, ours, 1.2, "streams-unix-asyncio"),
        *(Goal(f"rt-{size}", ours, 1.0, tcp) for size in ("64", "64k")),
        *(Goal(f"ow-{size}", ours, 1.0, tcp, faster=True) for size in sizes),
        Goal("ow-16m", ours, 1.3, "ipc-pipe-asyncio", faster=True),
    ]


def _blocking() -> list[Goal]:
    return [
        Goal("rt-64", "ipc-unix-sync", 1.15, "limit-unix-python"),
        Goal("rt-64", "ipc-pipe-sync", 1.15, "limit-pipe-python"),
        Goal("rt-64", "ipc-unix-sync", 1.05, "multiprocessing"),
        Goal("ow-64", "ipc-unix-sync", 2, "multiprocessing", faster=True),
        Goal("ow-64", "ipc-unix-sync-many", 2, "multiprocessing", faster=True),
    ]


def _many() -> list[Goal]:
    # One channel alone pays a wake-up for each message: ten show what more of them cost.
    return [
        Goal("channels-500", name, 1.2, name, what=what, against=against)
        for name in ("ipc-pipe-asyncio", "ipc-unix-asyncio", "ipc-tcp-asyncio")
        for against in ("channels-1", "channels-10")
        for what in ("wall", "cpu")
    ]


GOALS = (
    Goal("rt-64", "ipc-pipe-asyncio", 1.3, "limit-pipe-python"),
    Goal("rt-64", "ipc-pipe-asyncio", 0.8, "original-pipe"),
    Goal("rt-64", "ipc-pipe-asyncio", 1.0, BEST_PEER),
    Goal("rt-64", "ipc-pipe-uvloop", 1.0, "limit-pipe-python"),
    *_pipe_and_tcp("ow-64", 5, "original-{}", faster=True),
    *_pipe_and_tcp("ow-64", 2, BEST_PEER, faster=True),
    *_pipe_and_tcp("ow-1m", 0.9, "limit-{}-python", faster=True),
    *_pipe_and_tcp("ow-16m", 0.9, "limit-{}-python", faster=True),
    *_helpers(),
    Goal("rt-64", "ipc-pipe-asyncio", 5, "grpc", faster=True),
    *(
        Goal(FIRST, f"ipc-{short}-{loop}", 25)
        for short in ("pipe", "unix", "tcp")
        for loop in ("asyncio", "uvloop")
    ),
    *_unix(),
    *_blocking(),
    *_many(),
)
