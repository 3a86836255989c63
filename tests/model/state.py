"""The state of the model: where both ends are, what is open, and which rules hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

PIPES = ("to_server", "to_client")
ENDS = ("server", "client")
READS = {"server": "to_server", "client": "to_client"}
WRITES = {"server": "to_client", "client": "to_server"}
OTHER = {"server": "client", "client": "server"}

# Before an end counts itself connected; "again" is the second look of RDV-23.
CONNECTING = (
    "start",
    "seek",
    "open",
    "ask",
    "take",
    "take alone",
    "ask last",
    "names",
    "seek again",
    "ask again",
    "take again",
    "take alone again",
    "ask last again",
    "drop",
    "dropped",
)
FINAL = ("done", "ended", "gave up", "crashed")


@dataclass(frozen=True)
class Rules:
    """What the ends do; each default is what the specification says."""

    opens_without_blocking: bool = True  # RDV-22
    looks_again: bool = True  # RDV-23
    delivers_of_who_left: bool = True  # RDV-25
    ends_only_if_nobody_reads: bool = True  # RDV-26
    needs_both_ends: bool = True  # RDV-24, RDV-28
    looks_for_the_reader_first: bool = True  # RDV-24: and for a writer afterwards
    looks_for_the_reader_last: bool = True  # RDV-24: once more
    asks_for_the_reader_first: bool = True  # RDV-26: and reads afterwards
    keeps_its_pipes: bool = True  # RDV-29: open, when a passer-by has left
    notices_a_crash: bool = True  # what a wait for data or POLLERR does
    remembers: bool = True  # what was read on the way to the connection
    client_connects_early: bool = False  # as soon as `out` is open, as RDV-30 allows
    client_leaves_at_once: bool = False  # after it has sent, without waiting
    timeouts: bool = True
    crashes: bool = True
    passers_by: int = 1


@dataclass(frozen=True)
class State:
    """The place of every process, and what each has open.

    ``open`` holds (process, pipe, "r" or "w"), ``data`` how many bytes are in a pipe.
    """

    at: tuple[str, str] = ("start", "start")
    open: frozenset[tuple[str, str, str]] = frozenset()
    data: tuple[int, int] = (0, 0)
    named: bool = True  # whether the names lead to these pipes
    sent: frozenset[str] = frozenset()  # processes with a write that has succeeded
    got: frozenset[str] = frozenset()  # processes that have received
    visits: int = 0
    faced: frozenset[str] = frozenset()  # ends that had a reader and a writer at one moment
    alone: frozenset[str] = frozenset()  # ends that had no reader when they began to check

    def where(self, end: str) -> str:
        return self.at[ENDS.index(end)]

    def is_held(self, pipe: str, mode: str) -> bool:
        return any((name, how) == (pipe, mode) for _, name, how in self.open)

    def holds(self, who: str, pipe: str, mode: str) -> bool:
        return (who, pipe, mode) in self.open

    def bytes_in(self, pipe: str) -> int:
        return self.data[PIPES.index(pipe)]

    def go(self, end: str, place: str) -> State:
        at = list(self.at)
        at[ENDS.index(end)] = place
        named = self.named and not (end == "server" and place in FINAL)
        return replace(self, at=(at[0], at[1]), named=named)

    def opened(self, who: str, pipe: str, mode: str) -> State:
        return replace(self, open=self.open | {(who, pipe, mode)})

    def put(self, pipe: str, count: int) -> State:
        data = list(self.data)
        data[PIPES.index(pipe)] += count
        return replace(self, data=(data[0], data[1]))

    def closed(self, who: str, pipe: str | None = None) -> State:
        """Close what ``who`` holds; a pipe that no process holds loses its bytes."""
        left = frozenset(
            one for one in self.open if one[0] != who or pipe not in (None, one[1])
        )
        kept = tuple(
            count if any(name == one for _, name, _ in left) else 0
            for one, count in zip(PIPES, self.data, strict=True)
        )
        return replace(self, open=left, data=(kept[0], kept[1]))
