"""How long close waits for the peer to take what was written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

import pytest

from conftest import Connect
from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    TruncatedError,
)
from ipc_channel.options import check_options
from raw import CLOSE, PATIENCE, eventually, frame
from waiting import until_blocked


@pytest.mark.covers("SES-31")
async def test_close_does_not_wait_for_ever(
    connect: Connect, role: str, transport: str
) -> None:
    async with connect(linger=0.1) as (ours, _peer):
        before = open_descriptors()
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await until_blocked(ours)
        start = time.monotonic()
        await ours.close()
        assert time.monotonic() - start >= 0.09  # the loop's clock may be some ms behind
        freed = before - open_descriptors()
        # Of a server also the listening socket, the lock of the directory, or both.
        session = {"named_pipe": 2, "unix": 1, "tcp": 1}[transport]
        server = {"named_pipe": 1, "unix": 2, "tcp": 1}[transport]
        assert len(freed) == session + (server if role == "server" else 0)
        with pytest.raises(ChannelClosedError):
            await writing


async def test_close_waits_for_a_slow_reader(connect: Connect) -> None:
    message = os.urandom(3 * 2**20)
    async with connect(linger=PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(message))
        await asyncio.sleep(0)
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0.05)  # in which it would have ended
        assert not closing.done()
        assert await asyncio.to_thread(peer.recv_all) == [message]
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)


async def test_close_does_not_wait_for_a_peer_that_has_read_all(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        await ours.write(b"last")
        await ours.close()  # the peer neither reads nor closes: it does not need to
        assert await asyncio.to_thread(peer.recv_all) == [b"last"]


@pytest.mark.parametrize("how", ["close frame", "end", "torn", "unnoticed", "write failed"])
async def test_close_does_not_wait_for_a_peer_that_has_left(
    connect: Connect, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipc_channel.aio.session.QUIET", 2 * PATIENCE)
    async with connect(linger=2 * PATIENCE) as (ours, peer):
        peer.send({"close frame": CLOSE, "torn": b"\0"}.get(how, b""))
        peer.close()
        with contextlib.suppress(TruncatedError, ConnectionError):
            if how == "write failed":
                while True:
                    await ours.write(b"x")
            elif how != "unnoticed":
                await ours.read()
        await asyncio.wait_for(ours.close(), PATIENCE)


@pytest.mark.covers("SES-61")
@pytest.mark.parametrize("transport", ["tcp"])  # pipes do not wait for the peer's end
async def test_close_notices_that_the_peer_leaves(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipc_channel.aio.session.QUIET", 2 * PATIENCE)
    async with connect(linger=2 * PATIENCE) as (ours, peer):
        closing = asyncio.create_task(ours.close())
        assert await asyncio.to_thread(peer.recv_all) == []
        peer.close()
        await asyncio.wait_for(closing, PATIENCE)


async def test_close_waits_for_nothing_if_told_so(connect: Connect) -> None:
    """As often as the loop turns shows it, however long that takes."""
    turns = 0
    handle: asyncio.Handle | None = None

    def count() -> None:
        nonlocal turns, handle
        turns += 1
        handle = asyncio.get_running_loop().call_soon(count)

    async with connect(linger=0) as (ours, _):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await until_blocked(ours)
        handle = asyncio.get_running_loop().call_soon(count)
        await ours.close()
        handle.cancel()
        assert turns < 20
        with pytest.raises(ChannelClosedError):
            await writing


@pytest.mark.covers("SES-60", "SES-63")
@pytest.mark.parametrize("transport", ["tcp"])  # what is in a pipe stays there
async def test_close_waits_until_the_peer_has_it(connect: Connect) -> None:
    """The kernel has it all, but the peer's side of the connection is full."""
    message = bytes(600_000)
    async with connect(linger=PATIENCE) as (ours, peer):
        await ours.write(message)
        session = ours.session  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: session.sender.size == 0)
        assert session.stream.unsent() > 0
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0.25)  # longer than a silent peer is waited for
        assert not closing.done()
        peer.send(frame(b"a reset, were the socket closed by now"))
        assert await asyncio.to_thread(peer.recv_all) == [message]
        peer.close()
        await closing


@pytest.mark.covers("SES-53")
async def test_a_linger_of_zero_still_sends_what_the_kernel_takes(connect: Connect) -> None:
    async with connect(linger=0) as (ours, peer):
        await ours.write(b"small")
        await ours.close()
        assert await asyncio.to_thread(peer.recv_all) == [b"small"]


@pytest.mark.covers("SES-51")
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_the_linger_counts_from_the_last_progress(connect: Connect) -> None:
    """A peer that reads steadily gets everything, although it takes longer than the linger."""
    message = bytes(8 * 2**20)
    wire = frame(message) + CLOSE
    async with connect(linger=1.0) as (ours, peer):
        writing = asyncio.create_task(ours.write(message))
        await asyncio.sleep(0)
        closing = asyncio.create_task(ours.close())

        def read_slowly() -> int:
            total = 0
            while data := peer.recv(min(200_000, len(wire) - total)):
                total += len(data)
                time.sleep(0.05)
            return total

        assert await asyncio.to_thread(read_slowly) == len(wire)
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.covers("SES-52")
@pytest.mark.parametrize("transport", ["tcp"])  # of a pipe only the kernel's part shows
async def test_the_linger_counts_what_the_peer_takes(connect: Connect) -> None:
    """The kernel has it all, so that only its count of unsent bytes shows the progress."""
    message = bytes(600_000)
    wire = frame(message) + CLOSE
    async with connect(linger=2.0) as (ours, peer):
        assert peer.sock is not None
        peer.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14
        )  # shown in small steps
        await ours.write(message)
        session = ours.session  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: session.sender.size == 0)
        closing = asyncio.create_task(ours.close())

        def read_slowly() -> int:
            for _ in range(10):
                peer.recv(30_000)
                time.sleep(0.3)  # 3 s in all: longer than the linger
            return 300_000

        got = await asyncio.to_thread(read_slowly)
        assert not closing.done()
        assert got + len(await asyncio.to_thread(peer.recv, len(wire))) == len(wire)
        peer.close()
        await closing


@pytest.mark.covers("SES-50")
def test_the_linger_is_one_second() -> None:
    assert check_options({})["linger"] == 1.0
