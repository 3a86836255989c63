"""A model of two ends, and a stray opener, that open a pair of named pipes.

Every interleaving of their system calls is explored, with crashes and
timeouts at every point. The rules are those of ``spec/rendezvous.md``; ``Rules``
can leave one out, to show that the exploration would notice.

Left out, because a process that holds both pipes looks like the peer: a
stray opener that opens both, two at once, and one that writes. Left out as well:
a second attempt after a timeout, and the pipes of the next session, of which
only matters here that the names do not lead to these any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from model.ends import system_call
from model.state import CONNECTING, ENDS, FINAL, OTHER, PIPES, READS, WRITES, Rules, State


def all_steps(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
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
    """Whether the pipe that ``end`` writes had no reader when its present check began."""
    if following.where(end) in ("ask", "ask again"):
        return not following.is_held(WRITES[end], "r")
    return end in state.alone and following.where(end) != "dropped"


def steps(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Yield what can happen next, each with its name."""
    for end in ENDS:
        where = state.where(end)
        if where in FINAL:
            continue
        for following in system_call(state, end, rules):
            if following != state:
                yield f"{end}: {where} → {following.where(end)}", following
        if rules.crashes:
            yield f"{end} crashes", state.closed(end).go(end, "crashed")
        # An end that waits for a peer that has gone for good times out.
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
