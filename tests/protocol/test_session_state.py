"""The table of states: the vectors, and that code and specification have the same rows."""

from __future__ import annotations

import re
from typing import Any

import pytest

import vectors
from conformance.session_model import ERRORS, Model
from ipc_channel.errors import PeerGoneError, TruncatedError
from ipc_channel.protocol.session_state import TABLE, Event, Phase, SessionState

PAGE = (vectors.DIRECTORY.parent / "session.md").read_text("utf-8")
# What the decoder and the receiver see to is not in the table: after an end nothing is
# decoded, and the errors of a reset are made where it is met.
NAMES = {
    "frame arrives": Event.FRAME,
    "frame": Event.FRAME,
    "close frame": Event.CLOSE_FRAME,
    "end of stream at a boundary": Event.END_AT_BOUNDARY,
    "end of stream inside a frame": Event.END_INSIDE_FRAME,
    "over-limit header": Event.OVER_LIMIT,
    "reset met by a read": Event.RESET_ON_READ,
    "reset met by a write": Event.RESET_ON_WRITE,
    "peer gone met by a write": Event.PEER_GONE_ON_WRITE,
    "own close": Event.CLOSE,
    "linger over": Event.LINGER_OVER,
    "all sent": Event.ALL_SENT,
}
FROM_THE_PEER = (
    Event.FRAME,
    Event.CLOSE_FRAME,
    Event.OVER_LIMIT,
    Event.END_AT_BOUNDARY,
    Event.END_INSIDE_FRAME,
)


@pytest.mark.parametrize("case", vectors.load("session"), ids=lambda case: case["id"])
def test_vectors(case: dict[str, Any]) -> None:
    model = Model()
    for step in case["steps"]:
        ((kind, value),) = step.items()
        if kind == "event":
            model.on_event(Event(value))
        elif kind == "end_reason":
            assert model.state.end_reason == value
        else:
            answer = getattr(model, kind)()
            assert answer in (value if isinstance(value, list) else [value]), step


def rows() -> set[tuple[Phase, Event, Phase]]:
    """Return (state, event, next state) of each row of the page that changes anything."""
    found = set()
    for line in PAGE.split("## The states in full")[1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 6 or cells[0] in ("state", "---"):
            continue
        text = re.sub(r"\(.*\)", "", cells[1]).replace(
            " at a boundary or", " at a boundary, end of stream"
        )
        names = [name.strip() for name in text.split(",")]
        for event in (event for name in names for event in events(name)):
            found.add((phase(cells[0]), event, phase(cells[2].split(",")[0])))
    return found


def events(name: str) -> tuple[Event, ...]:
    if name == "anything from the peer":
        return FROM_THE_PEER
    if name == "end of stream":
        return Event.END_AT_BOUNDARY, Event.END_INSIDE_FRAME
    return (NAMES[name],)


def phase(cell: str) -> Phase:
    name = re.sub(r" (\*R\*|`\w+`).*", "", cell)
    return Phase(name)


def test_the_page_has_the_same_rows() -> None:
    ours = {
        (before, event, after)
        for before, by_event in TABLE.items()
        for event, (after, _) in by_event.items()
        if event is not Event.INTERRUPTION  # which the page tells below the table
    }
    # Rows that leave the state as it is need not be in the table.
    theirs = {row for row in rows() if row[0] is not row[2]}
    assert {row for row in ours if row[0] is not row[2]} == theirs


@pytest.mark.parametrize("before", [phase for phase in Phase if phase is not Phase.CLOSED])
def test_after_an_interruption_nothing_is_sent(before: Phase) -> None:
    state = SessionState(())
    state.phase = before
    had_ended = state.end
    state.on(Event.INTERRUPTION, ERRORS[Event.INTERRUPTION])
    if before is not Phase.OVER:
        assert not state.sends
        assert state.phase is (Phase.CLOSING if before is Phase.CLOSING else Phase.OVER)
    assert had_ended is None


def test_an_interruption_keeps_an_end_that_was_reached() -> None:
    state = SessionState(())
    state.on(Event.CLOSE_FRAME)
    state.on(Event.INTERRUPTION, ERRORS[Event.INTERRUPTION])
    assert (state.end_reason, state.read_error) == ("clean", None)
    assert state.refusal().code == "interrupted"


def test_errors() -> None:
    """``error`` tells of reading first, once the reader is there."""
    messages = [b"undelivered"]
    state = SessionState(messages)
    state.on(Event.PEER_GONE_ON_WRITE, ERRORS[Event.PEER_GONE_ON_WRITE])
    state.on(Event.END_INSIDE_FRAME, ERRORS[Event.END_INSIDE_FRAME])
    assert isinstance(state.error, PeerGoneError)
    messages.clear()
    assert isinstance(state.error, TruncatedError)
