"""Closing while the peer goes on sending: it still gets everything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import pytest

from conftest import Connect
from ipc_channel import FrameTooLargeError, IPCChannelClient
from ipc_channel.aio.session import QUIET
from raw import CLOSE, PATIENCE, Raw, eventually, frame
from waiting import until_waits


async def close_while_stuck(ours: IPCChannelClient, peer: Raw, sends: bytes) -> None:
    """Close with output left, while the peer is stuck in sending; it has to get all."""
    stuck = asyncio.create_task(asyncio.to_thread(peer.send, sends))
    writing = asyncio.create_task(ours.write(b"y" * 3_000_000))
    await until_waits(writing)
    closing = asyncio.create_task(ours.close())
    await stuck
    assert await asyncio.to_thread(peer.recv_all) == [b"y" * 3_000_000]
    peer.close()
    await closing
    await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.covers("SES-34")
async def test_a_peer_stuck_in_a_write_still_gets_the_end(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        await close_while_stuck(ours, peer, frame(bytes(30 * 2**20)))


async def test_a_peer_that_goes_on_after_its_close_frame_still_gets_the_end(
    connect: Connect,
) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        peer.send(CLOSE)
        assert await ours.read() is None
        await close_while_stuck(ours, peer, bytes(30 * 2**20))


@pytest.mark.covers("SES-35")
async def test_close_ends_the_stream_at_once(connect: Connect) -> None:
    """A peer may look for the end of the stream, and go on sending until then."""
    async with connect(linger=PATIENCE) as (ours, peer):
        closing = asyncio.create_task(ours.close())

        def send_until_the_end() -> None:
            with contextlib.suppress(BrokenPipeError):  # the pipe has no reader any more
                while not peer.can_read() or peer.recv(1):
                    peer.send(frame(b"still here"))

        sending = asyncio.create_task(asyncio.to_thread(send_until_the_end))
        await asyncio.wait_for(asyncio.shield(sending), PATIENCE / 2)
        peer.close()
        await closing


@pytest.mark.covers("SES-62")
@pytest.mark.parametrize("transport", ["tcp"])  # pipes do not wait for the peer's end
async def test_close_does_not_wait_for_a_peer_that_talks_for_ever(connect: Connect) -> None:
    """What it sends is no progress of what we send."""
    async with connect(linger=0.2) as (ours, peer):

        def talk() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    peer.send(frame(b"and on"))
                    time.sleep(0.001)

        talking = asyncio.create_task(asyncio.to_thread(talk))
        await asyncio.wait_for(ours.close(), PATIENCE)
        await talking


@pytest.mark.covers("SES-37")
async def test_a_peer_over_the_limit_still_gets_whole_frames(connect: Connect) -> None:
    messages = [b"1" * 2_000_000, b"2"]
    async with connect(max_message_size=2_000_000, linger=PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(messages[0]))
        await asyncio.sleep(0)
        peer.send((2_000_001).to_bytes(4, "big"))
        with pytest.raises(FrameTooLargeError):
            await ours.read()
        closing = asyncio.create_task(ours.close())
        assert await asyncio.to_thread(peer.recv_all) == messages[:1]
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.covers("SES-60", "SES-63")
@pytest.mark.parametrize("transport", ["tcp"])  # what is in a pipe stays there
async def test_close_waits_until_the_peer_is_quiet(connect: Connect) -> None:
    """It has taken all, but unread input would make the kernel discard that."""
    async with connect(linger=PATIENCE) as (ours, peer):
        session = ours.session  # type: ignore[attr-defined]  # looks inside
        told = 0

        def unsent(real: Callable[[], int] = session.stream.unsent) -> int:
            """Each time that close looks, the peer says something more, five times."""
            nonlocal told
            if told < 5:
                told += 1
                peer.send(b"x")
            return real()

        session.stream.unsent = unsent
        await ours.close()
        assert told == 5
        assert session.receiver.discarded == 5


@pytest.mark.covers("RDV-48", "SES-63")
@pytest.mark.parametrize("transport", ["tcp"])
async def test_close_stays_for_a_moment_once_it_is_let_in(connect: Connect) -> None:
    """Only after the server has accepted us does it ask which user we are."""
    loop = asyncio.get_running_loop()
    async with connect(linger=PATIENCE) as (ours, _):
        looks: list[float] = []

        def delivered() -> bool:
            looks.append(loop.time())
            return len(looks) > 3

        ours.session.stream.delivered = delivered  # type: ignore[attr-defined]  # looks inside
        await ours.close()
        assert loop.time() - looks[3] > 0.9 * QUIET


async def test_close_makes_room_for_a_peer_beyond_the_read_ahead(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        stuck = asyncio.create_task(
            asyncio.to_thread(peer.send, frame(bytes(1000)) * 20_000)
        )
        receiver = ours.session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: not receiver.reading)
        writing = asyncio.create_task(ours.write(b"y" * 3_000_000))
        await until_waits(writing)
        closing = asyncio.create_task(ours.close())
        await asyncio.wait_for(stuck, PATIENCE)
        assert await asyncio.to_thread(peer.recv_all) == [b"y" * 3_000_000]
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)
