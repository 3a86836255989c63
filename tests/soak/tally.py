"""What a run has counted, and what it found wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self


class WrongError(Exception):
    """Something was lost, doubled, merged or ended as it must not."""


@dataclass
class Tally:
    """Figures of one worker, or of all."""

    kills: Counter[str] = field(default_factory=Counter)
    """By what was killed, its language and the transport."""
    ends: Counter[str] = field(default_factory=Counter)
    """By transport and reason."""
    messages: int = 0
    """That were read and compared."""
    size: int = 0
    """Bytes of those."""
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add the figures of another worker."""
        self.kills += other.kills
        self.ends += other.ends
        self.messages += other.messages
        self.size += other.size
        self.failures += other.failures

    def read(self, message_size: int) -> None:
        """Count a message that was read and is right."""
        self.messages += 1
        self.size += message_size

    def as_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return vars(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the tally that a worker has printed."""
        kills, ends = Counter(value.pop("kills")), Counter(value.pop("ends"))
        return cls(kills=kills, ends=ends, **value)
