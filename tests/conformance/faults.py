"""What can be made wrong with the Python testee, and the cases that have to find it."""

from __future__ import annotations

from collections.abc import Callable

FAULTS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {}
"""What makes the testee wrong, and the ids of cases, each of which has to find it."""


def fault(id_: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function that makes the testee wrong."""

    def register(make_wrong: Callable[[], None]) -> Callable[[], None]:
        name = make_wrong.__name__.replace("_", "-")
        ids = FAULTS[name][1] if name in FAULTS else ()
        FAULTS[name] = make_wrong, (*ids, id_)
        return make_wrong

    return register
