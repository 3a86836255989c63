"""What an end does: one system call in each place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from model.state import OTHER, READS, WRITES, Rules, State


def system_call(state: State, end: str, rules: Rules) -> Iterator[State]:
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
    """Check whether ``out`` has a reader, and only then what ``in`` holds."""
    again = " again" if state.where(end) == "ask again" else ""
    if not rules.looks_for_the_reader_first:
        yield _ask_for_the_writer(state, end)
    elif not state.is_held(WRITES[end], "r"):  # POLLERR
        yield state.go(end, "take alone" + again)
    else:
        yield state.go(end, "take" + again)


def _ask_for_the_writer(state: State, end: str) -> State:
    """The wrong order: check ``in``, and only then whether ``out`` has a reader."""
    if state.bytes_in(READS[end]):
        return state.go(end, "send")
    return state.go(end, "ask last" if state.is_held(READS[end], "w") else "names")


def _take(state: State, end: str, rules: Rules) -> Iterator[State]:
    """Read a byte, or find that there is none yet (EAGAIN), or no writer."""
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
    """``out`` had no reader: the peer has left its bytes, or it was a stray opener."""
    again = state.where(end) == "take alone again"
    if state.bytes_in(READS[end]):
        yield state.go(end, "send")
    elif again or not rules.keeps_its_pipes:
        yield state.go(end, "drop")
    else:
        yield state.go(end, "names")


def _ask_last(state: State, end: str, rules: Rules) -> Iterator[State]:
    """``in`` has a writer: check whether ``out`` has a reader now."""
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
    """Check whether ``out`` has a reader, and only then read ``in``."""
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
    """``out`` has no reader: a read that returns nothing is the end now."""
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
