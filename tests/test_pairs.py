"""Pairs of choices leave nothing out that two choices can show."""

from __future__ import annotations

from itertools import combinations, product
from types import SimpleNamespace
from typing import Any

import loops
import raw
from pairs import beyond_pairs

LOOPS = tuple(loops.ALL)


def items(test: str, *choices: tuple[str, ...]) -> list[Any]:
    """Return stand-ins for the tests of all combinations."""
    return [
        SimpleNamespace(path="tests/test_it.py", name=f"{test}[{'-'.join(chosen)}]")
        for chosen in product(*choices)
    ]


def pairs(tests: list[Any]) -> set[tuple[str, ...]]:
    return {
        pair
        for test in tests
        for pair in combinations(test.name.strip("]").replace("[", "-").split("-"), 2)
    }


def kept(tests: list[Any]) -> list[Any]:
    left_out = list(beyond_pairs(tests))
    return [test for test in tests if test not in left_out]


def test_half_of_all_combinations_has_all_pairs() -> None:
    made = items("test_all", LOOPS, raw.TRANSPORTS, raw.ROLES)
    assert pairs(kept(made)) == pairs(made)
    assert len(kept(made)) * 2 <= len(made) + 1 or len(raw.TRANSPORTS) == 1


def test_a_test_on_one_loop_or_transport_keeps_its_pairs() -> None:
    for choices in (
        (LOOPS[:1], raw.TRANSPORTS, raw.ROLES),
        (LOOPS, raw.TRANSPORTS[:1], raw.ROLES),
        (LOOPS, raw.TRANSPORTS, raw.ROLES[:1]),
    ):
        made = items("test_some", *choices)
        assert pairs(kept(made)) == pairs(made)


def test_each_value_of_another_parameter_keeps_its_pairs() -> None:
    made = items("test_more", LOOPS, raw.TRANSPORTS, raw.ROLES, ("0", "1"))
    for value in ("0", "1"):
        ours = [test for test in made if test.name.endswith(f"-{value}]")]
        assert pairs([test for test in kept(made) if test in ours]) == pairs(ours)


def test_a_test_without_all_three_choices_is_kept() -> None:
    made = [*items("test_two", LOOPS, raw.TRANSPORTS), *items("test_one", raw.ROLES)]
    assert kept(made) == made
