"""Which tests are enough to have each pair of an event loop, a transport and a role once.

Nearly all faults that depend on such a choice depend on one or two of them, and the pairs
take half of the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations

import pytest

import loops
import raw

_CHOICES = (tuple(loops.ALL), raw.TRANSPORTS, raw.ROLES)


def beyond_pairs(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the tests all of whose pairs other tests have, which are not yielded."""
    seen: set[tuple[str, ...]] = set()
    # Each second combination has all pairs, if a test is there in all of them.
    for item in sorted(items, key=_is_second):
        test, chosen = _chosen(item)
        pairs = {(test, *pair) for pair in combinations(chosen, 2)}
        if len(chosen) == len(_CHOICES) and pairs <= seen:
            yield item
        seen |= pairs


def _chosen(item: pytest.Item) -> tuple[str, list[str]]:
    """Return a test without the choices that its name has, and these choices."""
    words = re.split(r"[\[\]-]", f"{item.path}-{item.name}")
    chosen = [word for kind in _CHOICES for word in words if word in kind]
    return "-".join(word for word in words if word not in chosen), chosen


def _is_second(item: pytest.Item) -> bool:
    _, chosen = _chosen(item)
    return (
        sum(kind.index(word) for word in chosen for kind in _CHOICES if word in kind) % 2
        > 0
    )
