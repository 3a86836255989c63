"""The protocol over asyncio's own streams: taken over whole, with what they hold."""

from __future__ import annotations

import asyncio
import logging

import pytest

from asyncio_streams import streams
from descriptors import open_descriptors
from ipc_channel import (
    NotConnectedError,
    ResetError,
    TCPSocketProtocol,
)
from ipc_channel.aio.readiness import watches_itself
from raw import CLOSE, PATIENCE, eventually, frame


async def test_streams_are_taken_over() -> None:
    before = open_descriptors()
    async with streams() as (reader, writer, peer):
        peer.send(b"unframed\n" + frame(b"in the reader already") + frame(b"half")[:6])
        assert await reader.readline() == b"unframed\n"
        logger = logging.getLogger("another")
        protocol = TCPSocketProtocol(reader, writer, logger)
        assert protocol.logger is logger
        assert protocol.writer is writer
        assert await protocol.read() == b"in the reader already"
        peer.send(frame(b"half")[6:] + frame(b"x" * 300_000)[:200_000])
        assert await protocol.read() == b"half"
        reading = asyncio.create_task(protocol.read())
        await asyncio.to_thread(peer.send, frame(b"x" * 300_000)[200_000:])
        assert await reading == b"x" * 300_000
        await protocol.write(b"answer")
        assert await asyncio.to_thread(peer.recv_frame) == b"answer"
        peer.send(CLOSE)
        assert await protocol.read() is None
        assert protocol.end_reason == "clean"
        assert protocol.last_exception is None
        await protocol.close()
        assert peer.recv_all() == []
    assert open_descriptors() == before


async def test_streams_that_have_ended() -> None:
    async with streams() as (reader, writer, peer):
        peer.send(frame(b"last") + CLOSE)
        peer.end_writing()
        await eventually(lambda: bool(reader._eof))
        protocol = TCPSocketProtocol(reader, writer)
        assert await protocol.read() == b"last"
        assert await protocol.read() is None
        await protocol.write(b"the other direction goes on")
        assert await asyncio.to_thread(peer.recv_frame) == b"the other direction goes on"
        peer.close()
        await protocol.close()


@pytest.mark.parametrize("size", [10, 20 * 2**20])
async def test_streams_with_output_that_waits(size: int) -> None:
    """What was written before the take-over goes out first, whole."""
    async with streams() as (reader, writer, peer):
        writer.write(b"x" * size)
        protocol = TCPSocketProtocol(reader, writer)
        writing = asyncio.create_task(protocol.write(b"first message"))
        assert await asyncio.to_thread(peer.recv, size) == b"x" * size
        assert await asyncio.to_thread(peer.recv_frame) == b"first message"
        await writing
        closing = asyncio.create_task(protocol.close())
        assert await asyncio.to_thread(peer.recv_all) == []
        peer.close()
        await closing


async def test_streams_whose_peer_talks_while_output_waits() -> None:
    size = 20 * 2**20
    async with streams() as (reader, writer, peer):
        writer.write(b"x" * size)
        protocol = TCPSocketProtocol(reader, writer, linger=PATIENCE)
        for number in range(20):
            peer.send(frame(b"%d" % number))
            await asyncio.sleep(0)
        assert [await protocol.read() for _ in range(20)] == [b"%d" % n for n in range(20)]
        closing = asyncio.create_task(protocol.close())
        assert await asyncio.to_thread(peer.recv, size) == b"x" * size
        assert await asyncio.to_thread(peer.recv_all) == []
        peer.close()
        await closing


@pytest.mark.parametrize("size", [0, 400_000])
async def test_streams_that_are_reset_while_output_waits(size: int) -> None:
    """A reset counts as one, whether the transport or our stream gets the error."""
    async with streams() as (reader, writer, peer):
        writer.write(bytes(20 * 2**20))
        protocol = TCPSocketProtocol(reader, writer)
        if size:  # more than is read ahead: nothing is being read then
            await asyncio.to_thread(peer.send, frame(bytes(size)) * 2)
            await eventually(lambda: not protocol._session.receiver.reading)
        writing = asyncio.create_task(protocol.write(bytes(200_000)))
        await asyncio.sleep(0)
        peer.reset()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(writing, PATIENCE)
        with pytest.raises(ResetError):
            while True:
                assert await asyncio.wait_for(protocol.read(), PATIENCE) == bytes(size)
        assert protocol.end_reason == "reset"
        await protocol.close()


async def test_a_reset_is_seen_before_the_transport_has_met_it() -> None:
    """The loop tells of it once, and may tell us first."""
    async with streams() as (reader, writer, peer):
        writer.write(bytes(20 * 2**20))
        protocol = TCPSocketProtocol(reader, writer)
        with pytest.raises(BlockingIOError):
            protocol._session.stream.write([b"waits"])
        peer.reset()
        if not watches_itself(asyncio.get_running_loop()):
            await eventually(writer.transport.is_closing)  # only the transport is told
        with pytest.raises(ConnectionResetError):
            protocol._session.stream.write([b"never sent"])
        await protocol.close()


async def test_a_reset_inside_a_message_that_the_transport_has_met_first() -> None:
    async with streams() as (reader, writer, peer):
        writer.write(bytes(20 * 2**20))
        protocol = TCPSocketProtocol(reader, writer)
        receiver, stream = protocol._session.receiver, protocol._session.stream
        await asyncio.to_thread(peer.send, frame(bytes(2**20))[:300_000])
        await eventually(lambda: receiver.inbox.buffered == 300_000)
        stream.stop_reading()
        peer.reset()
        await eventually(writer.transport.is_closing)
        stream.start_reading(receiver.on_readable)
        with pytest.raises(ResetError):
            await asyncio.wait_for(protocol.read(), PATIENCE)
        await protocol.close()


async def test_streams_are_let_go_whatever_waits() -> None:
    async with streams() as (reader, writer, _):
        writer.write(bytes(20 * 2**20))
        protocol = TCPSocketProtocol(reader, writer, linger=0)
        await protocol.close()
        assert writer.is_closing()
        with pytest.raises(NotConnectedError):
            TCPSocketProtocol(reader, writer)


async def test_streams_that_hold_the_end_already() -> None:
    async with streams() as (reader, writer, peer):
        peer.send(
            frame(b"last") + CLOSE
        )  # and nothing more, not even the end of the stream
        await eventually(lambda: len(reader._buffer) == 12)
        protocol = TCPSocketProtocol(reader, writer)
        assert protocol.end_reason is None
        assert await protocol.read() == b"last"
        assert protocol.end_reason == "clean"
        assert await protocol.read() is None
        await protocol.close()


async def test_many_tiny_messages_that_came_before_are_handed_out_in_turns() -> None:
    async with streams() as (reader, writer, peer):
        peer.send(frame(b"x") * 2000)
        await eventually(lambda: len(reader._buffer) == 10_000)  # looks inside
        ours = TCPSocketProtocol(reader, writer)
        receiver = ours._session.receiver
        assert (
            len([1 for _ in range(2000) if receiver.inbox.read_nowait() is not None]) == 512
        )
        for _ in range(1488):
            assert await ours.read() == b"x"
        await ours.close()
