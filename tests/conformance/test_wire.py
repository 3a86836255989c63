"""The server's end of the suite: what it leaves watched or open when it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ipc_channel.conformance.raw_server import RawListener
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


async def test_a_connection_that_comes_as_its_accept_is_cancelled_is_closed(
    tmp_path: Path,
) -> None:
    """Unclosed, it would fail another test."""
    for turns in range(6):
        server = RawListener(str(tmp_path), Trace(), 10)
        server.appear()
        accepting = asyncio.create_task(server.accept())
        await asyncio.sleep(0)
        with socket.create_connection(("127.0.0.1", int(server.testee_in))) as peer:
            for _ in range(turns):
                await asyncio.sleep(0)
            accepting.cancel()
            await asyncio.wait({accepting})
            server.close()
            peer.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(1) == b""
        del accepting
        gc.collect()
