"""asyncio streams with the limit that they have by default, which saves memory."""

from __future__ import annotations

from benchmarks.adapters import streams
from benchmarks.adapters.streams import dial, listen

__all__ = ["dial", "listen"]

streams.LIMIT = 2**16
