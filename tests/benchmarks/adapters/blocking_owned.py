"""The limit, with memory of its own for each message, as a library has to deliver it."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.adapters import blocking
from benchmarks.async_end import Address


def listen(transport: str, directory: str) -> tuple[Address, Callable[[], blocking.Framed]]:
    return blocking.listen(transport, directory, owned=True)


def dial(transport: str, address: Address) -> blocking.Framed:
    return blocking.dial(transport, address, owned=True)
