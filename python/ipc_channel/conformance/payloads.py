"""Payloads of cases, the requests that describe them, and their digests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from typing import Any

PATTERN = bytes(random.Random(251).randbytes(251))
"""Pattern of payloads: its length 251 is prime, so no shift by a power of two matches."""


def sizes_of(chance: random.Random, count: int, most: int) -> list[int]:
    """Return random sizes, small ones more often, reproducible with the seed."""
    return [max(1, int(most ** chance.random())) for _ in range(count)]


def payload(size: int) -> bytes:
    """Return the payload of ``size`` bytes of the usual pattern."""
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
    """Return the digest of all frames, as the testee answers it after ``drain``."""
    hashed = hashlib.sha256()
    for message in messages:
        hashed.update(len(message).to_bytes(4, "big"))
        hashed.update(message)
    return hashed.hexdigest()
