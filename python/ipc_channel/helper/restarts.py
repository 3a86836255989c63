"""When a helper that was lost is started again: backoff, and the limit of restarts."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from ipc_channel.errors import HelperError
from ipc_channel.options import check_seconds

_MOST_DOUBLINGS = 60  # more would not fit into a float in the end


class Restarts:
    """Counts the restarts of a period, and spaces them.

    The pauses have exponential backoff with full jitter: before restart n in a row they
    are random between 0 and ``first * 2**(n - 1)`` seconds, but at most ``longest``.
    """

    def __init__(
        self, limit: int | None, period: float, backoff: tuple[float, float]
    ) -> None:
        self.limit = _check_limit(limit)
        self.period = check_seconds("period", period)
        self._first, self._longest = _check_backoff(backoff)
        self._times: deque[float] = deque()  # of the restarts within the period
        self._in_a_row = 0

    def next_delay(self, now: float, lived: float) -> float | None:
        """Return the seconds until the restart; None if it would be one too many.

        ``lived`` is how long, in seconds, the helper was connected.
        """
        if lived > self.period:
            self._in_a_row = 0
        while self._times and now - self._times[0] > self.period:
            self._times.popleft()
        if self.limit is not None:
            if len(self._times) >= self.limit:
                return None
            self._times.append(now)
        doubled = self._first * 2.0 ** min(self._in_a_row, _MOST_DOUBLINGS)
        self._in_a_row += 1
        return random.uniform(0, min(doubled, self._longest))  # noqa: S311  # no secret

    def too_many(self, last: str) -> HelperError:
        """Return the error of a helper that may not be started again; ``last`` says why."""
        if self.limit == 0:
            return HelperError(last)
        return HelperError(
            f"no more restarts after {self.limit} within {self.period} s; {last}"
        )


def _check_limit(limit: Any) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        kind = type(limit).__name__
        raise TypeError(f"restarts is an int, or None for no limit, not {kind}")
    if limit < 0:
        raise ValueError(f"restarts is {limit}; it must not be negative")
    return limit


def _check_backoff(backoff: Any) -> tuple[float, float]:
    if not isinstance(backoff, tuple | list) or len(backoff) != 2:
        raise TypeError(f"backoff is a pair of seconds, such as (0.1, 30), not {backoff!r}")
    first, longest = (check_seconds("backoff", seconds) for seconds in backoff)
    if first > longest:
        raise ValueError(f"backoff is {backoff!r}; its first pause exceeds its longest")
    return first, longest
