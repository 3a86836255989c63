"""Every state of the model that can be reached, and what is wrong with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from model.pipes import all_steps
from model.state import ENDS, FINAL, OTHER, Rules, State


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
            for name, following in all_steps(state, self.rules):
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
