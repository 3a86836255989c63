"""What is sent in a case: payloads, how the testee is told of them, and their digest."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from typing import Any

PATTERN = bytes(random.Random(251).randbytes(251))
"""What payloads are made of: 251 is prime, so that no shift by a power of two fits."""


def sizes_of(chance: random.Random, count: int, most: int) -> list[int]:
    """Return random sizes, small ones more often, which repeat with the seed."""
    return [max(1, int(most ** chance.random())) for _ in range(count)]


def payload(size: int) -> bytes:
    """Return what the testee is to write if told ``size`` and the usual pattern."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def write(
    *sizes: int, count: int | None = None, pattern: bytes = PATTERN
) -> dict[str, Any]:
    """Return the arguments of a request to write."""
    told: dict[str, Any] = {"pattern": pattern.hex(), "sizes": list(sizes)}
    if count is not None:
        told["count"] = count
    return told


def digest(messages: Iterable[bytes]) -> str:
    """Return what the testee answers after ``drain``: the digest of all frames."""
    hashed = hashlib.sha256()
    for message in messages:
        hashed.update(len(message).to_bytes(4, "big"))
        hashed.update(message)
    return hashed.hexdigest()
