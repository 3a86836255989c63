"""Closing: in every state, with slow, stuck and silent peers; and what it frees."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import socket
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raw
from conftest import Connect
from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    FrameTooLargeError,
    IPCChannelClient,
    TruncatedError,
)
from ipc_channel.options import check_options
from raw import CLOSE, PATIENCE, eventually, frame, make


@pytest.mark.covers("SES-30")
async def test_close_in_every_state(
    role: str, transport: str, tmp_path: Path, connect: Connect
) -> None:
    ours = make(role, transport, tmp_path)
    await ours.close()
    await ours.close()
    ours = make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE))
    await asyncio.sleep(0.005)
    await ours.close()
    assert await connecting is False
    for state in (
        "open",
        "reading",
        "writing",
        "ended",
        "torn",
        "too large",
        "write failed",
    ):
        (directory := tmp_path / state).mkdir()
        async with raw.connected(transport, role, directory, linger=0.05) as (ours, peer):
            task = asyncio.create_task(_bring_into(state, ours, peer))
            await asyncio.sleep(0.01)
            await ours.close()
            await ours.close()
            assert ours.end_reason is not None
            await asyncio.gather(task, return_exceptions=True)


async def _bring_into(state: str, ours: IPCChannelClient, peer: raw.Raw) -> None:
    if state == "reading":
        await ours.read()
    elif state == "writing":
        await ours.write(bytes(20 * 2**20))
    elif state in ("ended", "torn", "write failed"):
        peer.send(b"\0" if state == "torn" else b"")
        peer.close()
        if state == "write failed":
            await ours.write(b"x")
            await ours.write(b"x")
        await ours.read()
    elif state == "too large":
        peer.send(b"\xff\xff\xff\xff")
        await ours.read()


@pytest.mark.covers("SES-26")
@pytest.mark.parametrize("end", ["too large", "write failed"])
async def test_a_write_after_close_is_told_of_that(connect: Connect, end: str) -> None:
    """Whatever made writes fail before."""
    async with connect(linger=0) as (ours, peer):
        with contextlib.suppress(ConnectionError, FrameTooLargeError):
            await _bring_into(end, ours, peer)
        with pytest.raises((ConnectionError, FrameTooLargeError)) as before:
            while True:
                await ours.write(b"x")
        assert not isinstance(before.value, ChannelClosedError)
        await ours.close()
        with pytest.raises(ChannelClosedError):
            await ours.write(b"x")


@pytest.mark.covers("SES-36")
async def test_nothing_follows_a_frame_that_cannot_be_completed(connect: Connect) -> None:
    async with connect(linger=0) as (ours, peer):
        message = bytes(20 * 2**20)
        writing = asyncio.create_task(ours.write(message))
        await asyncio.sleep(0.01)
        await ours.close()
        with pytest.raises(ChannelClosedError):
            await writing
        # No close frame either, which would read as a part of the message.
        wire = frame(message)
        got = await asyncio.to_thread(_receive_what_there_is, peer, len(wire))
        assert 4 < len(got) < len(wire)
        assert wire.startswith(got)


def _receive_what_there_is(peer: raw.Raw, size: int) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := peer.recv(min(65536, size - len(got))):
            got += data
    return got


@pytest.mark.covers("SES-31")
async def test_everything_written_arrives_before_the_end(connect: Connect) -> None:
    messages = [b"%d" % number * 10_000 for number in range(200)]
    async with connect() as (ours, peer):
        # Unread input at the closing end would make the kernel throw output away.
        peer.send(frame(b"never read") * 100)

        async def write_and_close() -> None:
            for message in messages:
                await ours.write(message)
            await ours.close()

        closing = asyncio.create_task(write_and_close())
        assert await asyncio.to_thread(peer.recv_all) == messages
        peer.close()
        await closing
        assert ours.end_reason == "local"


@pytest.mark.covers("SES-33")
async def test_close_wakes_readers(connect: Connect) -> None:
    async with connect() as (ours, _):
        readers = [asyncio.create_task(ours.read()) for _ in range(3)]
        await asyncio.sleep(0)
        await ours.close()
        assert await asyncio.gather(*readers) == [None, None, None]
        assert await ours.read() is None
        assert ours.end_reason == "local"


@pytest.mark.covers("SES-31")
async def test_close_does_not_wait_for_ever(connect: Connect, role: str) -> None:
    async with connect(linger=0.1) as (ours, peer):
        before = open_descriptors()
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await asyncio.sleep(0.01)
        start = time.monotonic()
        await ours.close()
        assert time.monotonic() - start >= 0.1
        freed = before - open_descriptors()
        # A socket or two pipes; the server's listening socket, or lock of a directory.
        assert len(freed) == (1 if peer.sock else 2) + (role == "server")
        with pytest.raises(ChannelClosedError):
            await writing


async def test_close_waits_for_a_slow_reader(connect: Connect) -> None:
    message = os.urandom(3 * 2**20)
    async with connect(linger=PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(message))
        await asyncio.sleep(0)
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0.05)
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


@pytest.mark.covers("SES-34")
async def test_a_peer_stuck_in_a_write_still_gets_the_end(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        stuck = asyncio.create_task(asyncio.to_thread(peer.send, frame(bytes(30 * 2**20))))
        writing = asyncio.create_task(ours.write(b"y" * 3_000_000))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(ours.close())
        await stuck
        assert await asyncio.to_thread(peer.recv_all) == [b"y" * 3_000_000]
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)


async def test_a_peer_that_goes_on_after_its_close_frame_still_gets_the_end(
    connect: Connect,
) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        peer.send(CLOSE)
        assert await ours.read() is None
        stuck = asyncio.create_task(asyncio.to_thread(peer.send, bytes(30 * 2**20)))
        writing = asyncio.create_task(ours.write(b"y" * 3_000_000))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(ours.close())
        await stuck
        assert await asyncio.to_thread(peer.recv_all) == [b"y" * 3_000_000]
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.parametrize("how", ["close frame", "end", "torn", "unnoticed", "write failed"])
async def test_close_does_not_wait_for_a_peer_that_has_left(
    connect: Connect, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipc_channel.aio.session._QUIET", 2 * PATIENCE)
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
    monkeypatch.setattr("ipc_channel.aio.session._QUIET", 2 * PATIENCE)
    async with connect(linger=2 * PATIENCE) as (ours, peer):
        closing = asyncio.create_task(ours.close())
        assert await asyncio.to_thread(peer.recv_all) == []
        peer.close()
        await asyncio.wait_for(closing, PATIENCE)


@pytest.mark.covers("SES-35")
async def test_close_ends_the_stream_at_once(connect: Connect) -> None:
    """A peer may look for the end of the stream, and go on sending until then."""
    async with connect(linger=PATIENCE) as (ours, peer):
        closing = asyncio.create_task(ours.close())

        def send_until_the_end() -> None:
            with contextlib.suppress(BrokenPipeError):  # nobody reads the pipe any more
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


async def test_what_has_only_begun_is_dropped_with_the_session(connect: Connect) -> None:
    async with connect(linger=0) as (ours, peer):
        size = 20 * 2**20
        wire = size.to_bytes(4, "big") + bytes(size // 2)
        sending = asyncio.create_task(asyncio.to_thread(peer.send, wire))
        decoder = ours._session.receiver._decoder  # type: ignore[attr-defined]  # looks inside
        await sending
        await eventually(lambda: decoder.payload is not None)
        await ours.close()
        assert decoder.payload is None


@pytest.mark.covers("SES-60", "SES-63")
@pytest.mark.parametrize("transport", ["tcp"])  # what is in a pipe stays there
async def test_close_waits_until_the_peer_is_quiet(connect: Connect) -> None:
    """It has taken all, but input that nobody reads would make the kernel drop that."""
    async with connect(linger=PATIENCE) as (ours, peer):
        session = ours._session  # type: ignore[attr-defined]  # looks inside
        told = 0

        def unsent(real: Callable[[], int] = session._stream.unsent) -> int:
            """Each time that close looks, the peer says something more, five times."""
            nonlocal told
            if told < 5:
                told += 1
                peer.send(b"x")
            return real()

        session._stream.unsent = unsent
        await ours.close()
        assert told == 5
        assert session.receiver.discarded == 5


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
        await asyncio.sleep(0.01)
        handle = asyncio.get_running_loop().call_soon(count)
        await ours.close()
        handle.cancel()
        assert turns < 20
        with pytest.raises(ChannelClosedError):
            await writing


async def test_a_stuck_stream_is_not_ended_as_if_all_were_sent(connect: Connect) -> None:
    async with connect(linger=0) as (ours, _):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await asyncio.sleep(0.01)
        session = ours._session  # type: ignore[attr-defined]  # looks inside
        session._stream.finish_writing = lambda: pytest.fail("not all was sent")
        await ours.close()
        with pytest.raises(ChannelClosedError):
            await writing


@pytest.mark.covers("SES-32")
async def test_a_cancelled_close_frees_everything(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        before = open_descriptors()
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(ours.close())
        other = asyncio.create_task(ours.close())
        await asyncio.sleep(0.01)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await other
        assert len(before - open_descriptors()) >= (2 if peer.sock is None else 1)
        await asyncio.gather(writing, return_exceptions=True)


async def test_a_cancelled_second_close_leaves_the_first_alone(connect: Connect) -> None:
    message = bytes(3 * 2**20)
    async with connect(linger=PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(message))
        await asyncio.sleep(0)
        first, second = (asyncio.create_task(ours.close()) for _ in range(2))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.wait({second})
        assert second.cancelled()
        await asyncio.sleep(0.01)
        assert not first.done()
        assert await asyncio.to_thread(peer.recv_all) == [message]
        peer.close()
        await first
        await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.parametrize(("size", "is_logged"), [(5, False), (20 * 2**20, True)])
async def test_what_a_peer_did_not_take_is_logged(
    connect: Connect, size: int, is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(linger=0) as (ours, _):
        writing = asyncio.create_task(ours.write(bytes(size)))
        await asyncio.sleep(0.01)
        await ours.close()
        await asyncio.gather(writing, return_exceptions=True)
    assert ("did not take" in caplog.text) is is_logged
    if is_logged:
        assert re.search(r"closed with \d{7,} bytes that the peer", caplog.text)


async def test_what_a_failed_write_lost_is_not_logged_again(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer was told, by an error."""
    async with connect() as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await asyncio.sleep(0.01)
        peer.close()
        with pytest.raises(ConnectionError):
            await writing
    assert "did not take" not in caplog.text


@pytest.mark.covers("SES-60", "SES-63")
@pytest.mark.parametrize("transport", ["tcp"])  # what is in a pipe stays there
async def test_close_waits_until_the_peer_has_it(connect: Connect) -> None:
    """The kernel has it all, but the peer's side of the connection is full."""
    message = bytes(600_000)
    async with connect(linger=PATIENCE) as (ours, peer):
        await ours.write(message)
        session = ours._session  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: session.sender.queued == 0)
        assert session._stream.unsent() > 0
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0.25)  # longer than a silent peer is waited for
        assert not closing.done()
        peer.send(frame(b"a reset, were the socket closed by now"))
        assert await asyncio.to_thread(peer.recv_all) == [message]
        peer.close()
        await closing


@pytest.mark.covers("SES-32")
async def test_many_cycles_leave_nothing(role: str, transport: str, tmp_path: Path) -> None:
    async def cycle(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        async with raw.connected(transport, role, directory) as (ours, peer):
            peer.send(frame(b"x"))
            assert await ours.read() == b"x"
            if number % 3 == 0:
                peer.close()
            elif number % 3 == 1:
                peer.send(b"\0")
                peer.close()

    for number in range(20):  # imports, caches and free lists fill up at first
        await cycle(number)
    before, tasks = open_descriptors(), len(asyncio.all_tasks())
    # A leak grows each time; what something keeps once, a cache for instance, does not.
    grown = []
    for start in range(20, 620, 200):
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(start, start + 200):
                await cycle(number)
            gc.collect()
            grown.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        if grown[-1] < 200 * 1000:
            break
    assert grown[-1] < 200 * 1000, f"over 1 kB a cycle: {grown}"
    assert open_descriptors() == before
    assert len(asyncio.all_tasks()) == tasks
    # A dead entry in the selector would make one of the next descriptors deaf.
    async with raw.connected("tcp", "server", tmp_path) as (ours, peer):
        peer.send(frame(b"not deaf"))
        assert await ours.read() == b"not deaf"


@pytest.mark.covers("SES-6")
@pytest.mark.parametrize("end", [b"", CLOSE, b"\0", b"\xff\xff\xff\xff"])
async def test_an_own_close_before_the_reader_has_all_is_the_end(
    connect: Connect, end: bytes
) -> None:
    async with connect(linger=0) as (ours, peer):
        peer.send(frame(b"queued") + end)
        if end == b"\0":
            peer.close()
        await eventually(lambda: ours._session.queued == 1)  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: ours.connected == (not end))
        assert ours.end_reason is None
        await ours.close()
        assert await ours.read() is None
        assert ours.end_reason == "local"


@pytest.mark.covers("SES-53")
async def test_a_linger_of_zero_still_sends_what_the_kernel_takes(connect: Connect) -> None:
    async with connect(linger=0) as (ours, peer):
        await ours.write(b"small")
        await ours.close()
        assert await asyncio.to_thread(peer.recv_all) == [b"small"]


async def test_nothing_is_read_once_closing_has_begun(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        peer.send(frame(b"queued"))
        await eventually(lambda: ours._session.queued == 1)  # type: ignore[attr-defined]  # looks inside
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0)
        peer.send(frame(b"late"))
        await asyncio.sleep(0.02)
        assert await ours.read() is None
        with pytest.raises(ChannelClosedError):  # at once, not after the linger
            await asyncio.wait_for(writing, 1)
        assert not closing.done()
        peer.close()
        await closing


async def test_close_makes_room_for_a_peer_beyond_the_read_ahead(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        stuck = asyncio.create_task(
            asyncio.to_thread(peer.send, frame(bytes(1000)) * 20_000)
        )
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: not receiver.reading)
        writing = asyncio.create_task(ours.write(b"y" * 3_000_000))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(ours.close())
        await asyncio.wait_for(stuck, PATIENCE)
        assert await asyncio.to_thread(peer.recv_all) == [b"y" * 3_000_000]
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)


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
        session = ours._session  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: session.sender.queued == 0)
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


async def test_a_cancelled_close_cancels_no_other(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        closing = [asyncio.create_task(ours.close()) for _ in range(3)]
        await asyncio.sleep(0.01)
        closing[1].cancel()
        await asyncio.wait({closing[1]})
        await asyncio.sleep(0)
        assert not closing[0].done()
        assert not closing[2].done()
        peer.close()
        await asyncio.gather(closing[0], closing[2])
        await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.covers("SES-31")
async def test_nothing_follows_the_close_frame(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0)
        with pytest.raises(ChannelClosedError):
            await ours.write(b"too late")
        assert await asyncio.to_thread(peer.recv_all) == []
        assert await asyncio.to_thread(peer.is_ended)
        peer.close()
        await closing


async def test_a_failing_end_still_frees_everything(connect: Connect) -> None:
    def fail() -> None:
        raise RuntimeError("in a callback")

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: told.append(about))
    before = open_descriptors()
    async with connect() as (ours, peer):
        ours._session._stream.on_end = fail  # type: ignore[attr-defined]  # looks inside
        await asyncio.gather(ours.close(), asyncio.to_thread(_see_a_clean_end, peer))
    assert [str(about["exception"]) for about in told] == ["in a callback"]
    assert open_descriptors() == before


def _see_a_clean_end(peer: raw.Raw) -> None:
    assert peer.recv_all() == []
    peer.close()
