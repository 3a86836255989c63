"""What a pool has done so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HelperCounters:
    """One place of a pool: the helper that is there now, and those that were before.

    Attributes:
        name: the helper's, as in errors and events; "" before the first one is made.
        pid: of its process; None while it starts.
        in_flight: calls that it has and has not answered.
        answered: calls that were answered here, be it with an error.
        lost: helpers that were lost here.
        recycled: helpers that were replaced here because of ``recycle_calls`` or
            ``recycle_memory``.
    """

    name: str
    pid: int | None
    in_flight: int
    answered: int
    lost: int
    recycled: int


@dataclass(frozen=True)
class PoolCounters:
    """What became of the calls of a pool.

    Attributes:
        waiting: calls that wait for a helper with room.
        in_flight: calls that a helper has.
        answered: calls that were answered. An error that a handler has raised is an answer,
            and so is one that the codec could not decode.
        failed: calls that got no answer, at the last try: because the helper was lost, because
            the time was up, or because they were cancelled.
        retried: how often a call was sent to another helper.
        helpers: the places of the pool, in their order.
    """

    waiting: int
    in_flight: int
    answered: int
    failed: int
    retried: int
    helpers: tuple[HelperCounters, ...]

    @property
    def done(self) -> int:
        """Calls that are over: fits ``tqdm.n`` and ``rich.progress.Progress.update``."""
        return self.answered + self.failed
