"""What is left when connect, its cancellation and close meet."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    ConnectInProgressError,
    IPCChannel,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.aio.status import Status
from raw import PATIENCE, Raw, dial, eventually, frame, meet, open_nonblocking
from waiting import until_connect_waits


async def halfway(server: IPCChannel, half: str) -> tuple[asyncio.Task[bool], int]:
    """Let ``connect`` find one half of its peer."""
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    path = server.out_path if half == "reader" else server.in_path
    mode = os.O_RDONLY if half == "reader" else os.O_WRONLY
    fd = await asyncio.to_thread(open_nonblocking, path, mode)
    pipes = server._pipes  # type: ignore[attr-defined]  # looks inside
    await eventually(lambda: half == "writer" or pipes.is_read())
    return connecting, fd


@pytest.mark.parametrize("half", ["reader", "writer"])
@pytest.mark.parametrize("turns", range(4))
async def test_close_after_a_cancelled_connect_frees_everything(
    half: str, turns: int
) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    connecting.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    await server.close()
    await asyncio.wait({connecting})
    os.close(fd)
    assert open_descriptors() == before


@pytest.mark.parametrize("half", ["reader", "writer"])
async def test_close_while_half_met_frees_everything(half: str) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    await server.close()
    assert len(open_descriptors() - before) == 1, "that of the peer"
    assert await connecting is False
    os.close(fd)


@pytest.mark.parametrize("half", ["reader", "writer"])
async def test_close_frees_the_half_that_was_kept(half: str) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    connecting.cancel()
    await asyncio.wait({connecting})
    assert len(open_descriptors() - before) >= 2, "it was kept"
    await server.close()
    os.close(fd)
    assert open_descriptors() == before


@pytest.mark.covers("RDV-13")
@pytest.mark.parametrize("half", ["reader", "writer"])
async def test_a_half_that_was_met_is_kept(half: str) -> None:
    """A peer that opens its pipes one after the other may be interrupted in between."""
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, half)
    connecting.cancel()
    await asyncio.wait({connecting})
    if half == "reader":
        peer = Raw(fd, open_nonblocking(server.in_path, os.O_WRONLY))
    else:
        peer = Raw(os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK), fd)
    peer.send(frame(b"not lost"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"not lost"
    peer.close()
    await server.close()


@pytest.mark.parametrize("message", [b"", b"early"])
async def test_what_a_kept_half_wrote_is_kept(message: bytes) -> None:
    server = make_ipc_channel(transport="named_pipe")
    connecting, fd = await halfway(server, "writer")
    if message:
        os.write(fd, frame(message))
    connecting.cancel()
    await asyncio.wait({connecting})
    os.write(fd, frame(b"and later"))
    os.close(fd)
    assert await server.connect(PATIENCE)
    wanted = [message, b"and later"] if message else [b"and later"]
    assert [one async for one in server] == wanted
    await server.close()


async def test_a_connect_that_is_cancelled_twice(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_connect_waits(server)
    connecting.cancel()
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait({connecting})
    assert connecting.cancelled()
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while True:
        with contextlib.suppress(ConnectInProgressError):
            assert await server.connect(PATIENCE)
            break
        await asyncio.sleep(0)
    (await meeting).close()
    await server.close()


async def test_a_channel_that_is_closed_as_its_peer_is_found(transport: Any) -> None:
    server: Any = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while server._status is not Status.PENDING:  # connect itself has not seen it yet
        await asyncio.sleep(0)
    assert not connecting.done()
    await server.close()
    assert await connecting is False
    (await meeting).close()


async def test_an_error_that_nobody_waits_for_is_no_complaint(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, what: complaints.append(what)
    )

    begun = asyncio.Event()

    async def fail_late(_: float) -> None:
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            raise OSError("too late")

    server = make_ipc_channel(transport=transport)
    monkeypatch.setattr(server, "_open", fail_late)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await begun.wait()
    connecting.cancel()
    await asyncio.wait({connecting})
    await server.close()
    del connecting
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.covers("RDV-13")
async def test_half_a_peer_is_kept_when_an_attempt_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = make_ipc_channel(transport="named_pipe")
    connecting = asyncio.create_task(server.connect(PATIENCE))
    writer = await asyncio.to_thread(open_nonblocking, server.in_path, os.O_WRONLY)

    def full(*_: Any) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await connecting
    os.write(writer, frame(b"still here"))
    reader = os.open(server.out_path, os.O_RDONLY | os.O_NONBLOCK)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"still here"
    os.close(writer)
    os.close(reader)
    await server.close()


async def test_disconnect_keeps_the_channel(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    await server.disconnect()
    for number in range(3):
        peer = await meet(server)
        await server.write(b"%d" % number)
        disconnecting = asyncio.create_task(server.disconnect())
        assert await asyncio.to_thread(peer.recv_all) == [b"%d" % number]
        peer.close()
        await disconnecting
        assert await server.read() is None
        assert server.end_reason == "local"
    await server.close()


async def test_what_was_in_the_way_is_told(tmp_path: Path, paths: tuple[str, str]) -> None:
    server = make_ipc_channel(transport="tcp")
    missing = str(tmp_path / "missing")
    read = str(tmp_path / "read")
    os.mkfifo(read)
    reader = os.open(read, os.O_RDONLY | os.O_NONBLOCK)
    ways: list[tuple[Any, str]] = [
        (make_ipc_channel_client(missing, paths[1]), f"'{missing}' does not exist"),
        (make_ipc_channel_client(*paths), f"no process has '{paths[1]}' open for reading"),
        (
            make_ipc_channel_client(paths[0], read),
            f"no process has '{paths[0]}' open for writing",
        ),
        (make_ipc_channel_client("1", "1"), r"port=1 did not connect in 0 s: .*refused"),
        (server, f"port={server.in_path} did not connect in 0 s: no client connected"),
    ]
    for channel, text in ways:
        assert not await channel.connect(0)
        with pytest.raises(TimeoutError, match=text):
            raise channel.last_exception
    for channel, _ in ways:
        await channel.close()
    os.close(reader)


async def test_a_channel_that_is_closed_has_missed_nobody(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    await server.close()
    assert await connecting is False
    assert server.last_exception is None


async def test_a_missed_peer_is_forgotten_with_the_next(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    assert not await server.connect(0)
    assert server.last_exception is not None
    peer = await meet(server)
    assert server.last_exception is None
    peer.close()
    await server.close()
