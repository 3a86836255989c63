"""When a helper of a pool is to be replaced."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import dataclass, field

from ipc_channel.aio.request_channel import RequestChannel
from ipc_channel.errors import HelperError
from ipc_channel.log import safely
from ipc_channel.options import check_count, check_seconds

_logger = logging.getLogger("ipc_channel.pool")
_PAUSE = 0.1  # seconds between two looks at the memory of a process


@dataclass
class Recycling:
    """The limits of one helper; None stands for no limit."""

    calls: int | None
    memory: int | None
    stuck_after: float
    _looked: float = field(default=float("-inf"), init=False)
    _seen: int | None = field(default=None, init=False)  # the process that was looked at

    def check(self) -> None:
        """Raise TypeError or ValueError for a limit that cannot be."""
        for name, value in (("recycle_calls", self.calls), ("recycle_memory", self.memory)):
            if value is not None:
                check_count(name, value)
        if self.memory is not None and sys.platform != "linux":
            raise ValueError("recycle_memory works on Linux only: use recycle_calls")
        check_seconds("stuck_after", self.stuck_after)

    def is_due(self, calls: int, pid: int) -> bool:
        """Whether a helper that has got so many calls is to go."""
        if self.calls is not None and calls >= self.calls:
            return True
        now = asyncio.get_running_loop().time()
        if self.memory is None or now < self._looked + _PAUSE:
            return False
        self._looked = now
        is_new, self._seen = pid != self._seen, pid
        used = memory_of(pid)
        if used > self.memory and is_new:
            safely(
                _logger.warning,
                "a new helper (process %d) uses %d bytes of memory, more than"
                " recycle_memory=%d: it is replaced at once; choose a higher limit",
                pid,
                used,
                self.memory,
            )
        return used > self.memory

    def check_stuck(self, requests: RequestChannel) -> None:
        """Raise if a request that was cancelled is still not answered after so long."""
        since = requests.cancelled_since
        now = asyncio.get_running_loop().time()
        if since is not None and now > since + self.stuck_after:
            raise HelperError(
                f"it has not answered a request for {self.stuck_after} s after the cancel"
            )


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process uses on Linux; 0 if that cannot be told."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # it has ended, or no descriptor is free
        return 0
