"""What any event loop must pay: a watched descriptor and a waiter, and no more.

It waits for room nowhere, notices no end, and reads only whole small frames, as
round trips bring them. So it bounds from below what a library can reach on a loop.

On asyncio's loop the reader goes on in the turn that brings its message, as it does
in the library. On uvloop a future costs less: a turn there takes no system call.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.async_end import Address
from ipc_channel.aio.waiter import deliver


class Bare:
    """Frames over two descriptors; a frame comes and goes in one system call."""

    def __init__(self, in_fd: int, out_fd: int) -> None:
        self._in, self._out = in_fd, out_fd
        self._loop = asyncio.get_running_loop()
        self._messages: deque[bytes] = deque()
        self._new_waiter, self._wake = _waking(self._loop)
        self._waiter: asyncio.Future[None] | None = None
        self._loop.add_reader(in_fd, self._on_readable)

    def _on_readable(self) -> None:
        data = os.read(self._in, 65536)
        start = 0
        while start < len(data):
            body = start + 4
            start = body + int.from_bytes(data[start:body], "big")
            self._messages.append(data[body:start])
        if not data:
            self._loop.remove_reader(self._in)
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            self._wake(waiter)

    async def write(self, data: bytes) -> None:
        os.write(self._out, len(data).to_bytes(4, "big") + data)

    async def read(self) -> bytes | None:
        if not self._messages:
            self._waiter = self._new_waiter()
            await self._waiter
        return self._messages.popleft()

    async def close(self) -> None:
        self._loop.remove_reader(self._in)
        os.close(self._in)
        os.close(self._out)


def _waking(
    loop: asyncio.AbstractEventLoop,
) -> tuple[Callable[[], asyncio.Future[None]], Callable[[Any], object]]:
    """Return how to make what a reader waits for, and how to wake it."""
    if isinstance(loop, asyncio.BaseEventLoop):  # which uvloop's is not
        return loop.create_future, deliver
    return loop.create_future, lambda waiter: waiter.set_result(None)


async def listen(
    transport: str, directory: str, number: int
) -> tuple[Address, Callable[[], Awaitable[Bare]]]:
    del transport
    paths = f"{directory}/{number}.in", f"{directory}/{number}.out"
    for path in paths:
        os.mkfifo(path)
    in_fd = os.open(paths[0], os.O_RDONLY | os.O_NONBLOCK)

    async def accept() -> Bare:
        return Bare(in_fd, await _open_writer(paths[1]))

    return (paths[1], paths[0]), accept


async def dial(transport: str, address: Address) -> Bare:
    del transport
    in_fd = os.open(address[0], os.O_RDONLY | os.O_NONBLOCK)
    return Bare(in_fd, await _open_writer(address[1]))


async def _open_writer(path: str) -> int:
    """Open for writing without blocking, once the pipe has a reader."""
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            await asyncio.sleep(0.001)
