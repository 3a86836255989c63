"""What is sent: messages that their place in a session determines, to the byte.

So a reader that knows the session can tell the message that must come next, and notices
one that was lost, doubled, merged, cut or taken from another session.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

LARGEST = (1, 300, 2**16, 2**22)
"""Largest message of a session in bytes; each session takes one of these."""

_BLOCK = random.Random(7).randbytes(2**23)
_STEP = 1_048_583  # a prime, so that neighbours begin at other bytes


def messages(session: str) -> Iterator[bytes]:
    """Yield the messages of a session, of 1 byte up to its largest, without end.

    Each begins with its number, as far as it has room for it.
    """
    chance = random.Random(f"messages of {session}")
    largest = chance.choice(LARGEST)
    number = 0
    while True:
        size = max(1, int(largest ** chance.random()))
        start = (number * _STEP + chance.randrange(251)) % (len(_BLOCK) - size)
        head = b"%d " % number
        yield (head + _BLOCK[start : start + size])[:size]
        number += 1
