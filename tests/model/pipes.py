"""A model of two ends, and a passer-by, that open a pair of named pipes.

Every interleaving of their system calls is explored, with crashes and
timeouts at every point. The rules are those of ``spec/rendezvous.md``; ``Rules``
can leave one out, to show that the exploration would notice.

Left out, as somebody who holds both pipes cannot be told from the peer: a
passer-by that opens both, two at once, and one that writes. Left out as well:
a second attempt after a timeout, and the pipes of the next session, of which
only matters here that the names do not lead to these any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

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
    looks_for_the_reader_first: bool = True  # RDV-24: and at who writes afterwards
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
    """Where everybody is, and what is open.

    ``open`` holds (who, pipe, "r" or "w"), ``data`` how many bytes are in a pipe.
    """

    at: tuple[str, str] = ("start", "start")
    open: frozenset[tuple[str, str, str]] = frozenset()
    data: tuple[int, int] = (0, 0)
    named: bool = True  # whether the names lead to these pipes
    sent: frozenset[str] = frozenset()  # whose write has succeeded
    got: frozenset[str] = frozenset()  # who has received
    visits: int = 0
    faced: frozenset[str] = frozenset()  # who had a reader and a writer at one moment
    alone: frozenset[str] = frozenset()  # who had no reader as it began to look for both

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
        """Close what ``who`` holds; a pipe that nobody holds forgets its bytes."""
        left = frozenset(
            one for one in self.open if one[0] != who or pipe not in (None, one[1])
        )
        kept = tuple(
            count if any(name == one for _, name, _ in left) else 0
            for one, count in zip(PIPES, self.data, strict=True)
        )
        return replace(self, open=left, data=(kept[0], kept[1]))


def _all_steps(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Yield what can happen next, with what the ends cannot know of each other."""
    for name, following in steps(state, rules):
        looking = [end for end in ENDS if following.where(end) in CONNECTING]
        faced = {end for end in looking if _faces_a_peer(following, end)}
        alone = {end for end in ENDS if _is_alone(state, following, end)}
        yield (
            name,
            replace(following, faced=following.faced | faced, alone=frozenset(alone)),
        )


def _faces_a_peer(state: State, end: str) -> bool:
    is_read = state.is_held(WRITES[end], "r")
    return bool(state.bytes_in(READS[end]) or (is_read and state.is_held(READS[end], "w")))


def _is_alone(state: State, following: State, end: str) -> bool:
    """Whether nobody read what ``end`` writes when it began the look that it is at."""
    if following.where(end) in ("ask", "ask again"):
        return not following.is_held(WRITES[end], "r")
    return end in state.alone and following.where(end) != "dropped"


def steps(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Yield what can happen next, each with its name."""
    for end in ENDS:
        where = state.where(end)
        if where in FINAL:
            continue
        for following in _end(state, end, rules):
            if following != state:
                yield f"{end}: {where} → {following.where(end)}", following
        if rules.crashes:
            yield f"{end} crashes", state.closed(end).go(end, "crashed")
        # Who waits for somebody that has gone for good will give up.
        is_alone = rules.crashes and state.where(OTHER[end]) in FINAL
        if where in CONNECTING and (rules.timeouts or is_alone):
            yield f"{end} gives up", state.closed(end).go(end, "gave up")
    # After 250 ms a client that has begun to open is taken to have finished.
    if state.named and not any(place in CONNECTING for place in state.at):
        yield "the server replaces its pipes", replace(state, named=False)
    yield from _passer_by(state, rules)


def _passer_by(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    who = "passer-by"
    if any(one == who for one, _, _ in state.open):
        yield "the passer-by leaves", state.closed(who)
    elif state.visits < rules.passers_by and state.named:
        visited = replace(state, visits=state.visits + 1)
        for pipe in PIPES:
            yield f"the passer-by reads {pipe}", visited.opened(who, pipe, "r")
            if state.is_held(pipe, "r"):
                yield f"the passer-by writes {pipe}", visited.opened(who, pipe, "w")


def _end(state: State, end: str, rules: Rules) -> Iterator[State]:
    """One system call of an end, or none while it has to wait."""
    where = state.where(end)
    place = where.removesuffix(" again")
    yield from {
        "start": _start,
        "seek": _seek,
        "open": _open,
        "ask": _ask,
        "take": _take,
        "take alone": _take_alone,
        "ask last": _ask_last,
        "names": _names,
        "drop": _drop,
        "dropped": _dropped,
        "send": _send,
        "receive": _receive,
        "receive more": _receive_more,
        "receive alone": _receive_alone,
        "receive empty": _receive_empty,
        "gone": _gone,
        "leave": _leave,
        "left": _left,
    }[place](state, end, rules)


def _is_named(state: State, end: str) -> bool:
    return state.named or end == "server"  # which knows by itself


def _start(state: State, end: str, rules: Rules) -> Iterator[State]:
    blocked = not rules.opens_without_blocking and not state.is_held(READS[end], "w")
    if _is_named(state, end) and not blocked:
        yield state.opened(end, READS[end], "r").go(end, "seek")


def _seek(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Look for one that has left its bytes; then at the other pipe."""
    again = state.where(end) == "seek again"
    has_left = state.bytes_in(READS[end]) and not state.is_held(READS[end], "w")
    if has_left and rules.delivers_of_who_left:
        yield state.go(end, "send")
    elif state.holds(end, WRITES[end], "w"):
        yield state.go(end, "ask again" if again else "ask")
    else:
        yield state.go(end, "drop" if again else "open")


def _open(state: State, end: str, rules: Rules) -> Iterator[State]:
    if not (_is_named(state, end) and state.is_held(WRITES[end], "r")):
        yield state.go(end, "names")  # ENOENT, ENXIO
        return
    opened = state.opened(end, WRITES[end], "w")
    early = end == "client" and rules.client_connects_early
    yield opened.go(end, "send" if early else "ask")


def _ask(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Look whether somebody reads ``out``, and only then what there is in ``in``."""
    again = " again" if state.where(end) == "ask again" else ""
    if not rules.looks_for_the_reader_first:
        yield _ask_for_the_writer(state, end)
    elif not state.is_held(WRITES[end], "r"):  # POLLERR
        yield state.go(end, "take alone" + again)
    else:
        yield state.go(end, "take" + again)


def _ask_for_the_writer(state: State, end: str) -> State:
    """The wrong order: look at ``in``, and only then whether somebody reads ``out``."""
    if state.bytes_in(READS[end]):
        return state.go(end, "send")
    return state.go(end, "ask last" if state.is_held(READS[end], "w") else "names")


def _take(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Read a byte, or find that there is none yet (EAGAIN), or nobody to write one."""
    again = " again" if state.where(end) == "take again" else ""
    if state.bytes_in(READS[end]) or not rules.needs_both_ends:
        yield state.go(end, "send")
    elif not state.is_held(READS[end], "w"):
        yield state.go(end, "drop" if again else "names")
    elif rules.looks_for_the_reader_last:
        yield state.go(end, "ask last" + again)
    else:
        yield state.go(end, "send")


def _take_alone(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Nobody read ``out`` any more: a peer that has left its bytes, or a passer-by."""
    again = state.where(end) == "take alone again"
    if state.bytes_in(READS[end]):
        yield state.go(end, "send")
    elif again or not rules.keeps_its_pipes:
        yield state.go(end, "drop")
    else:
        yield state.go(end, "names")


def _ask_last(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Somebody writes to ``in``: look whether somebody reads ``out`` now."""
    again = state.where(end) == "ask last again"
    if state.is_held(WRITES[end], "r"):
        yield state.go(end, "send")
    elif again or not rules.keeps_its_pipes:
        yield state.go(end, "drop")
    else:
        yield state.go(end, "names")


def _names(state: State, end: str, rules: Rules) -> Iterator[State]:
    if _is_named(state, end):
        yield state.go(end, "seek")
    else:
        yield state.go(end, "seek again" if rules.looks_again else "drop")


def _drop(state: State, end: str, rules: Rules) -> Iterator[State]:
    del rules
    dropped = state.closed(end).go(end, "dropped")
    yield replace(dropped, faced=dropped.faced - {end})


def _dropped(state: State, end: str, rules: Rules) -> Iterator[State]:
    del rules
    yield state.go(end, "start")


def _is_written(state: State, end: str) -> bool:
    return bool(state.is_held(READS[end], "w") or state.bytes_in(READS[end]))


def _send(state: State, end: str, rules: Rules) -> Iterator[State]:
    leaves = end == "client" and rules.client_leaves_at_once
    following = state.go(end, "leave" if leaves else "receive")
    writes = state.holds(end, WRITES[end], "w")
    if writes and state.is_held(WRITES[end], "r"):  # or else EPIPE; reading goes on
        following = replace(following.put(WRITES[end], 1), sent=state.sent | {end})
    yield following


def _receive(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Look whether somebody reads ``out``, and only then read ``in``."""
    if not rules.notices_a_crash and state.where(OTHER[end]) == "crashed":
        return
    nobody_reads = not state.is_held(WRITES[end], "r")
    if not rules.asks_for_the_reader_first and not _is_written(state, end):
        yield state.go(end, "receive empty")
    elif nobody_reads or not rules.ends_only_if_nobody_reads:
        yield state.go(end, "receive alone")
    else:
        yield state.go(end, "receive more")


def _receive_more(state: State, end: str, rules: Rules) -> Iterator[State]:
    """A read: what gives nothing now is no end."""
    if state.bytes_in(READS[end]):
        yield _got(state, end, rules)
    else:
        yield state.go(end, "receive")


def _receive_alone(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Nobody reads ``out``: a read that gives nothing is the end now."""
    if state.bytes_in(READS[end]):
        yield _got(state, end, rules)
    elif not state.is_held(READS[end], "w"):
        yield state.go(end, "gone")
    else:
        yield state.go(end, "receive")


def _receive_empty(state: State, end: str, rules: Rules) -> Iterator[State]:
    """The wrong order: a read gave nothing, and now ``out`` is looked at."""
    del rules
    nobody_reads = not state.is_held(WRITES[end], "r")
    yield state.go(end, "gone" if nobody_reads else "receive")


def _got(state: State, end: str, rules: Rules) -> State:
    got = state.put(READS[end], -1)
    if rules.remembers or end == "server":
        got = replace(got, got=state.got | {end})
    return got.go(end, "leave")


def _gone(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Leave behind the other end, which is taken to have gone."""
    del rules
    yield state.closed(end).go(end, "ended")


def _leave(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Close the two pipes, one after the other."""
    del rules
    yield state.closed(end, WRITES[end]).go(end, "left")


def _left(state: State, end: str, rules: Rules) -> Iterator[State]:
    del rules
    yield state.closed(end).go(end, "done")


@dataclass
class Exploration:
    """Every state that can be reached, and how."""

    rules: Rules
    came_from: dict[State, tuple[State, str] | None] = field(default_factory=dict)
    back: dict[State, list[State]] = field(default_factory=dict)

    def run(self) -> Exploration:
        first = State()
        self.came_from[first] = None
        queue = deque([first])
        while queue:
            state = queue.popleft()
            for name, following in _all_steps(state, self.rules):
                # A crash is no way out of a state in which one is stuck.
                if not name.endswith("crashes"):
                    self.back.setdefault(following, []).append(state)
                if following not in self.came_from:
                    self.came_from[following] = state, name
                    queue.append(following)
        return self

    def story(self, state: State) -> str:
        """Return the shortest way to ``state``, a step a line."""
        lines: list[str] = [str(state)]
        while (before := self.came_from[state]) is not None:
            state, name = before
            lines.append(name)
        return "\n".join(reversed(lines))

    def cannot_reach(self, goals: set[State]) -> list[State]:
        """Return the states from which no goal can be reached any more."""
        found, queue = set(goals), deque(goals)
        while queue:
            for before in self.back.get(queue.popleft(), []):
                if before not in found:
                    found.add(before)
                    queue.append(before)
        return [state for state in self.came_from if state not in found]


def is_final(state: State) -> bool:
    return all(place in FINAL for place in state.at)


def is_good(state: State, rules: Rules) -> bool:
    """Whether all is over as it should be."""
    if not is_final(state) or state.open:
        return False
    if rules.timeouts or rules.crashes:
        return True
    # Nothing has come in between, so that everything has arrived.
    readers = {"server"} if rules.client_leaves_at_once else set(ENDS)
    return all(place == "done" for place in state.at) and state.got == readers


def faults(exploration: Exploration) -> list[str]:
    """Return the story of everything that must not happen."""
    states = exploration.came_from
    good = {state for state in states if is_good(state, exploration.rules)}
    stuck = exploration.cannot_reach(good)
    found = [f"no good end:\n{exploration.story(state)}" for state in stuck[:1]]
    for what, is_wrong in (
        ("something is left open", _leaves_something),
        ("an end that was none", _false_end),
        ("a message was lost", _loses),
        ("connected to nobody", _meets_nobody),
    ):
        wrong = next((state for state in states if is_wrong(state)), None)
        if wrong is not None:
            found.append(f"{what}:\n{exploration.story(wrong)}")
    return found


def _leaves_something(state: State) -> bool:
    return any(state.where(who) in FINAL for who, _, _ in state.open if who != "passer-by")


def _false_end(state: State) -> bool:
    """Whether an end takes the other for gone which is still there, or on its way."""
    return any(
        state.where(end) == "gone"
        and state.where(OTHER[end]) not in (*FINAL, "start", "leave", "left", "gone")
        for end in ENDS
    )


def _loses(state: State) -> bool:
    """Whether an end looks away for good although the other had sent it something."""
    return any(
        state.where(end) in ("ended", "dropped")
        and OTHER[end] in state.sent
        and end not in state.got
        for end in ENDS
    )


def _meets_nobody(state: State) -> bool:
    """Whether an end counts itself connected that had no peer, as it could have known.

    It never had a reader and a writer at once, and no reader when it began to look.
    """
    return any(
        state.where(end) == "send" and end not in state.faced and end in state.alone
        for end in ENDS
    )
