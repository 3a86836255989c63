"""A helper's stdin and stdout: asyncio streams over two pipes, with the same frames.

The harness starts both processes, so two FIFOs stand for the pipes that a service
gets from ``create_subprocess_exec``, with ``pipesize`` for 1 MiB each: it halves what
64 KiB take. Pipes are there before a helper starts: so the driver opens its ends
before "go".
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable
from typing import IO

from benchmarks.adapters import streams
from benchmarks.async_end import Address

_CAPACITY = 2**20  # bytes of a pipe


class Framed(streams.Framed):
    """Messages over a pair of streams; ``also`` is closed with them."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        also: list[asyncio.BaseTransport | IO[bytes]],
    ) -> None:
        super().__init__(reader, writer)
        self._also = also

    async def close(self) -> None:
        await super().close()
        for one in self._also:
            one.close()


async def listen(
    transport: str, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[Framed]]]:
    del transport
    theirs, ours = f"{directory}/{number}.stdin", f"{directory}/{number}.stdout"
    os.mkfifo(theirs)
    os.mkfifo(ours)
    source = _open(ours, os.O_RDONLY)
    spare = _open(theirs, os.O_RDONLY)  # without a reader it opens for no writer
    target = _open(theirs, os.O_WRONLY)

    async def accept() -> Framed:
        return await _framed(source, target, spare)

    return (theirs, ours), accept


async def dial(transport: str, address: Address) -> Framed:
    del transport
    return await _framed(_open(address[0], os.O_RDONLY), _open(address[1], os.O_WRONLY))


def _open(path: str, mode: int) -> IO[bytes]:
    fd = os.open(path, mode | os.O_NONBLOCK)
    with contextlib.suppress(OSError, AttributeError):  # a user may have so much only
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _CAPACITY)
    return open(fd, "rb" if mode == os.O_RDONLY else "wb", buffering=0)


async def _framed(source: IO[bytes], target: IO[bytes], *spare: IO[bytes]) -> Framed:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(streams.LIMIT)
    incoming, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), source
    )
    outgoing, protocol = await loop.connect_write_pipe(
        # A writer needs a protocol of this kind, with a reader of its own.
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()),
        target,
    )
    writer = asyncio.StreamWriter(outgoing, protocol, reader, loop)
    return Framed(reader, writer, [incoming, *spare])
