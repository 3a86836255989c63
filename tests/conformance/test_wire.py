"""The server's end of the suite: what it leaves watched when it is closed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable

import pytest

from ipc_channel.conformance.trace import Trace
from ipc_channel.conformance.wire import Wire

MORE = bytes(2**20)  # bytes, which do not fit into a pipe
PATIENCE = 10  # seconds


def read_all(fd: int, begin: threading.Event) -> None:
    begin.wait()
    while os.read(fd, len(MORE)):
        pass


@pytest.mark.parametrize("end", [Wire.close, Wire.end_writing])
async def test_a_descriptor_is_not_watched_once_it_is_closed(
    end: Callable[[Wire], None],
) -> None:
    """Or else another case, which gets its number next, fails with an error."""
    (in_fd, no_input), (unread, out_fd) = os.pipe(), os.pipe()
    first = Wire(in_fd, out_fd, None, Trace(), PATIENCE)
    first.deliver(MORE)
    await asyncio.sleep(0)  # it waits for room from now on
    (next_in, next_no_input), (read, written) = os.pipe(), os.pipe()
    end(first)
    assert fcntl.fcntl(written, fcntl.F_DUPFD, out_fd) == out_fd
    os.close(written)
    second = Wire(next_in, out_fd, None, Trace(), PATIENCE)
    begin = threading.Event()
    reading = threading.Thread(target=read_all, args=(read, begin))
    reading.start()
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, begin.set)  # by then, both have done what they will
    try:
        await second.send(MORE)
    finally:
        second.close()
        first.close()
        reading.join()
        for fd in (no_input, unread, next_no_input, read):
            os.close(fd)
