"""The limit, but each message is an object of its own, as a library has to deliver it.

Python's buffered file reads ahead, too, and a large payload straight to the new object.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.adapters import blocking
from benchmarks.async_end import Address

_HEADER = 4
_CHUNK = 2**16  # bytes of one read


class Framed(blocking.Framed):
    """Messages over two file descriptors."""

    def __init__(self, in_fd: int, out_fd: int) -> None:
        super().__init__(in_fd, out_fd)
        file = open(in_fd, "rb", buffering=_CHUNK, closefd=False)  # noqa: SIM115  # close closes in_fd
        self._read = file.read

    def read(self) -> bytes:
        header = self._read(_HEADER)
        if not header:
            raise EOFError("the other end has gone")
        return self._read(int.from_bytes(header, "big"))


def listen(transport: str, directory: str) -> tuple[Address, Callable[[], blocking.Framed]]:
    return blocking.listen(transport, directory, Framed)


def dial(transport: str, address: Address) -> blocking.Framed:
    return blocking.dial(transport, address, Framed)
