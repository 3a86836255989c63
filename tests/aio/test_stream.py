"""What the transports share."""

from __future__ import annotations

import asyncio
import itertools
import socket

import pytest

from ipc_channel.aio.timing import backoff
from ipc_channel.transports.socket_stream import SocketStream


@pytest.mark.covers("RDV-12")
async def test_tries_begin_close_together_and_slow_down() -> None:
    loop = asyncio.get_running_loop()
    pauses = list(itertools.islice(backoff(loop, loop.time() + 60), 7))
    assert pauses == pytest.approx([0.001, 0.002, 0.004, 0.008, 0.016, 0.02, 0.02])


async def test_the_last_try_is_at_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    assert list(backoff(loop, loop.time())) == []
    assert next(backoff(loop, loop.time() + 0.0005)) == 0.001
    *_, fourth = itertools.islice(backoff(loop, loop.time() + 0.005), 4)
    assert fourth <= 0.005 + 1e-9  # the clock is a large number by now


async def test_input_is_no_failure() -> None:
    ours, peer = socket.socketpair()
    stream = SocketStream(asyncio.get_running_loop(), ours)
    peer.send(b"x")
    assert not stream.broken()
    stream.release()
    peer.close()
