"""What a pool has done so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HelperCounters:
    """One place of a pool: the helper that is there now, and those that were before."""

    name: str
    """The helper's, as in errors and events; "" before the first one is made."""
    pid: int | None
    """Of its process; None while it starts."""
    in_flight: int
    """Calls that it has and has not answered."""
    answered: int
    """Calls that were answered here, be it with an error."""
    lost: int
    """Helpers that were lost here."""
    recycled: int
    """Helpers that were replaced here because of ``recycle_calls`` or ``recycle_memory``."""


@dataclass(frozen=True)
class PoolCounters:
    """What became of the calls of a pool."""

    waiting: int
    """Calls that wait for a helper with room."""
    in_flight: int
    """Calls that a helper has."""
    answered: int
    """Calls that were answered, be it with an error."""
    failed: int
    """Calls that got no answer, at the last try: because the helper was lost, because the
    time was up, or because they were cancelled."""
    retried: int
    """How often a call was sent to another helper."""
    helpers: tuple[HelperCounters, ...]
    """The places of the pool, in their order."""

    @property
    def done(self) -> int:
        """Calls that are over: fits ``tqdm.n`` and ``rich.progress.Progress.update``."""
        return self.answered + self.failed
