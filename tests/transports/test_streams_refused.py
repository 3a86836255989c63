"""Streams that cannot be taken over, and a protocol's errors."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from pathlib import Path
from typing import Any, NoReturn

import pytest

from asyncio_streams import streams
from forks import drop_in_a_child
from ipc_channel import (
    NotConnectedError,
    TCPSocketProtocol,
    TruncatedError,
    WrongLoopError,
)
from ipc_channel.aio.readiness import watches_itself
from ipc_channel.transports import adopted_stream
from raw import PATIENCE, Raw, eventually, frame


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
        await writer.wait_closed()
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
    def full(_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    if not watches_itself(asyncio.get_running_loop()):
        return  # the transport keeps its socket, and no further descriptor is needed
    async with streams() as (reader, writer, peer):
        peer.send(frame(b"came before"))
        await eventually(lambda: len(reader._buffer) > 0)
        with monkeypatch.context() as patch:
            patch.setattr(adopted_stream, "_duplicate", full)
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
