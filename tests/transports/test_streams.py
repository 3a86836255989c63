"""The protocol over asyncio's own streams: taken over whole, or refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import dispositions
from descriptors import open_descriptors
from forks import drop_in_a_child
from ipc_channel import (
    NotConnectedError,
    ResetError,
    TCPSocketProtocol,
    TruncatedError,
    WrongLoopError,
)
from raw import CLOSE, PATIENCE, Raw, eventually, frame


@contextlib.asynccontextmanager
async def streams() -> Any:
    """Give asyncio's reader and writer of a connection, and the raw other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        sock, _ = listener.accept()
    peer = Raw(sock.fileno(), sock.fileno(), sock)
    with dispositions.without_sigpipe():
        try:
            yield reader, writer, peer
        finally:
            peer.close()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


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
        protocol = TCPSocketProtocol(reader, writer)
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
    """Whoever is told of the reset, the transport or we, it is one."""
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
            protocol._session._stream.write([b"waits"])
        peer.reset()
        with pytest.raises(ConnectionResetError):
            protocol._session._stream.write([b"never sent"])
        await protocol.close()


async def test_a_reset_inside_a_message_that_the_transport_has_met_first() -> None:
    async with streams() as (reader, writer, peer):
        writer.write(bytes(20 * 2**20))
        protocol = TCPSocketProtocol(reader, writer)
        receiver, stream = protocol._session.receiver, protocol._session._stream
        await asyncio.to_thread(peer.send, frame(bytes(2**20))[:300_000])
        await eventually(lambda: receiver.inbox.buffered == 300_000)
        stream.stop_reading()
        peer.reset()
        await eventually(writer.transport.is_closing)
        stream.start_reading(receiver._on_readable)
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


async def test_streams_that_cannot_be_taken_over() -> None:
    async with streams() as (reader, writer, peer):
        other = asyncio.new_event_loop()
        with pytest.raises(WrongLoopError):
            TCPSocketProtocol(reader, writer, loop=other)
        other.close()
        with pytest.raises(ValueError, match="max_message_size"):
            TCPSocketProtocol(reader, writer, max_message_size=0)
        with pytest.raises(TypeError, match="logger"):
            TCPSocketProtocol(reader, writer, logger=None)  # type: ignore[arg-type]  # is to be refused
        writer.transport.abort()
        await asyncio.sleep(0.01)
        with pytest.raises(NotConnectedError):
            TCPSocketProtocol(reader, writer)
        peer.close()


async def test_streams_that_have_failed() -> None:
    async with streams() as (reader, writer, _):
        reader.set_exception(ConnectionResetError("earlier"))
        with pytest.raises(ConnectionResetError, match="earlier"):
            TCPSocketProtocol(reader, writer)


async def test_the_error_of_a_protocol() -> None:
    async with streams() as (reader, writer, peer):
        protocol = TCPSocketProtocol(reader, writer)
        peer.send(b"\0")
        peer.end_writing()
        with pytest.raises(TruncatedError):
            await protocol.read()
        assert isinstance(protocol.last_exception, TruncatedError)
        await protocol.close()


async def test_a_protocol_dropped_without_close() -> None:
    async with streams() as (reader, writer, _):
        protocol = TCPSocketProtocol(reader, writer)
        with pytest.warns(ResourceWarning, match="unclosed"):
            del protocol
        await asyncio.sleep(0)


async def test_streams_over_tls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        sock, _ = listener.accept()
    info = writer.get_extra_info

    def over_tls(name: str, default: Any = None) -> Any:
        return ssl.SSLObject if name == "ssl_object" else info(name, default)

    monkeypatch.setattr(writer, "get_extra_info", over_tls)
    with pytest.raises(ValueError, match="TLS"):
        TCPSocketProtocol(reader, writer)
    sock.close()
    writer.close()
    await writer.wait_closed()


async def test_streams_that_could_not_be_taken_over_keep_what_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with streams() as (reader, writer, peer):
        peer.send(frame(b"came before"))
        await eventually(lambda: len(reader._buffer) > 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", full)
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                TCPSocketProtocol(reader, writer)
        protocol = TCPSocketProtocol(reader, writer)
        assert await protocol.read() == b"came before"
        peer.close()
        await protocol.close()


async def test_streams_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        protocol = TCPSocketProtocol(*await asyncio.open_unix_connection(path))
        sock, _ = listener.accept()
    peer = Raw(sock.fileno(), sock.fileno(), sock)
    peer.send(frame(b"hello"))
    assert await protocol.read() == b"hello"
    await protocol.write(b"and back")
    await protocol.close()
    assert peer.recv_all() == [b"and back"]
    peer.close()


@pytest.mark.parametrize("wrong", ["reader", "writer"])
async def test_what_is_no_stream_is_refused(wrong: str) -> None:
    async with streams() as (reader, writer, _):
        given = {"reader": reader, "writer": writer, wrong: None}
        with pytest.raises(TypeError, match=f"{wrong} is a Stream.*, not NoneType"):
            TCPSocketProtocol(**given)


async def test_a_protocol_belongs_to_its_loop() -> None:
    async def use(protocol: TCPSocketProtocol) -> None:
        for using in (protocol.read, lambda: protocol.write(b"x"), protocol.close):
            with pytest.raises(WrongLoopError):
                await using()

    async with streams() as (reader, writer, peer):
        protocol = TCPSocketProtocol(reader, writer)
        await asyncio.to_thread(asyncio.run, use(protocol))
        peer.close()
        await protocol.close()


def test_a_forked_child_that_drops_streams() -> None:
    """It shares the selector with us, and must not make us deaf."""

    async def use(peer: Raw, protocol: TCPSocketProtocol) -> None:
        peer.send(frame(b"still heard"))
        assert await asyncio.wait_for(protocol.read(), PATIENCE) == b"still heard"
        await protocol.close()

    async def take_over() -> tuple[Any, Any, Raw]:
        held = streams()
        reader, writer, peer = await held.__aenter__()
        return held, [TCPSocketProtocol(reader, writer)], peer

    loop = asyncio.new_event_loop()
    held, protocols, peer = loop.run_until_complete(take_over())
    drop_in_a_child(protocols)
    loop.run_until_complete(use(peer, protocols[0]))
    loop.run_until_complete(held.__aexit__(None, None, None))
    loop.close()


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
