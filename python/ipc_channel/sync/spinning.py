"""Looks a few times before it sleeps, as long as that pays.

To put a thread to sleep and to wake it on another core takes several times as long as a
small message takes otherwise. So before a poll that may sleep, a thread polls without
sleeping for some microseconds. If two processes exchange small messages, the answer is
mostly there by then, and neither of them sleeps at all, which takes less CPU time, too.

Where the answers take longer, this never succeeds, and the thread soon gives it up, but for
a try now and then. With one core it does not even begin.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ipc_channel.sync.poller import Poller

_LOOKS = 50  # polls in a row, of about 0.4 µs each
_MISSES = 8  # in vain in a row, after which it is given up
_RETRY = 64  # every so many sleeps it is tried again


class SpinningPoller:
    """Polls the descriptors of ``poller``."""

    def __init__(self, poller: Poller) -> None:
        self._poll = poller.poll
        self._misses = 0  # in a row
        self._looks = range(_LOOKS if (os.cpu_count() or 1) > 1 else 0)

    def poll(self, timeout: float | None) -> Sequence[tuple[int, int]]:
        """Wait for up to ``timeout`` seconds; return what is ready."""
        poll = self._poll
        if timeout != 0:
            if self._misses < _MISSES or not self._misses % _RETRY:
                for _ in self._looks:
                    if ready := poll(0):
                        self._misses = 0
                        return ready
            self._misses += 1
        return poll(timeout)
