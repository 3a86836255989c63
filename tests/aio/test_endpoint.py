"""The life of a channel: connect, its timeout, cancellation, reconnect, close, use after."""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raw
from conftest import Connect
from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    ConnectInProgressError,
    IPCChannelClient,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.aio.receiver import READ_AHEAD
from ipc_channel.aio.status import Status
from raw import CLOSE, PATIENCE, dial, eventually, frame, make, meet


@pytest.mark.covers("RDV-9", "RDV-10")
@pytest.mark.parametrize("timeout", [0, 0.05, 0.3])
async def test_nobody_there(
    role: str, transport: str, tmp_path: Path, timeout: float
) -> None:
    ours = make(role, transport, tmp_path)
    before = open_descriptors()
    for _ in range(2):
        start = time.monotonic()
        assert await ours.connect(timeout) is False
        assert time.monotonic() - start >= timeout
    assert open_descriptors() == before
    assert ours.end_reason is None
    await ours.close()


async def test_nothing_waits_beyond_the_deadline(
    role: str, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []

    async def wait(*args: Any, real: Any = asyncio.wait, **options: Any) -> Any:
        waits.append(options.get("timeout"))
        return await real(*args, **options)

    monkeypatch.setattr(asyncio, "wait", wait)
    ours = make(role, transport, tmp_path)
    assert not await ours.connect(0.05)
    assert max(one for one in waits if one is not None) <= 0.05
    assert len(waits) < 20
    await ours.close()


@pytest.mark.covers("RDV-10")
async def test_connect_after_a_failed_one(
    role: str, transport: Any, tmp_path: Path
) -> None:
    rendezvous = raw.Rendezvous(transport, tmp_path)
    ours: IPCChannelClient
    meet: Callable[[], raw.Raw]
    if role == "server":
        ours = server = make_ipc_channel(transport=transport)
        meet = functools.partial(dial, server.out_path, server.in_path)
        assert not await ours.connect(0.01)
    else:
        ours = make_ipc_channel_client(rendezvous.out_path, rendezvous.in_path)
        meet = rendezvous.accept
        if transport == "named_pipe":  # a listening socket would answer by itself
            assert not await ours.connect(0.01)
    peer, came = await asyncio.gather(asyncio.to_thread(meet), ours.connect(PATIENCE))
    assert came
    peer.send(frame(b"hello"))
    assert await ours.read() == b"hello"
    peer.close()
    await ours.close()
    rendezvous.close()


@pytest.mark.covers("RDV-10")
async def test_a_cancelled_connect_leaves_nothing(
    role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)
    before = open_descriptors()
    for _ in range(3):
        connecting = asyncio.create_task(ours.connect(PATIENCE))
        await asyncio.sleep(0.005)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert open_descriptors() == before
    assert not await ours.connect(0)
    await ours.close()


@pytest.mark.covers("RDV-13")
@pytest.mark.parametrize("turns", range(8))
async def test_a_peer_that_comes_as_connect_is_cancelled_is_kept(
    transport: Any, turns: int
) -> None:
    """A helper does not come twice."""
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while not (meeting.done() or connecting.done()):
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait({connecting})
    peer = await meeting
    peer.send(frame(b"not lost"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"not lost"
    peer.close()
    await server.close()


async def test_close_frees_a_peer_that_no_connect_has_told_of(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    before = open_descriptors()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    peer = await asyncio.to_thread(dial, server.out_path, server.in_path)
    await eventually(lambda: server._session is not None)  # type: ignore[attr-defined]  # looks inside
    connecting.cancel()
    await asyncio.wait({connecting})
    await server.close()
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    # The listening socket, or the lock of the pipes' directory.
    assert len(before - open_descriptors()) == 1


async def until_met(server: Any) -> tuple[asyncio.Task[bool], asyncio.Task[raw.Raw]]:
    """Return in the very turn in which a peer was met, before ``connect`` knows."""
    connecting = asyncio.create_task(server.connect(PATIENCE))
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    while not server.connected:
        await asyncio.sleep(0)
    assert not connecting.done()
    return connecting, meeting


async def met_and_dropped(server: Any) -> asyncio.Task[bool]:
    """Disconnect in that turn."""
    connecting, meeting = await until_met(server)
    disconnecting = asyncio.create_task(server.disconnect())
    peer = await meeting
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    await disconnecting
    return connecting


async def test_a_connect_goes_on_when_its_peer_is_dropped_at_once(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = await met_and_dropped(server)
    await asyncio.sleep(0.02)  # in which it would have given up
    assert not connecting.done()
    peer = await asyncio.to_thread(dial, server.out_path, server.in_path)
    assert await connecting
    peer.send(frame(b"the second"))
    assert await server.read() == b"the second"
    peer.close()
    await server.close()


async def test_a_connect_ends_when_the_channel_is_closed_as_it_meets(
    transport: Any,
) -> None:
    server = make_ipc_channel(transport=transport)
    connecting, meeting = await until_met(server)
    closing = asyncio.create_task(server.close())
    peer = await meeting
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    assert await connecting is False
    await closing


@pytest.mark.covers("RDV-9")
async def test_connect_at_once_finds_who_is_there(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    meeting = asyncio.create_task(asyncio.to_thread(dial, server.out_path, server.in_path))
    if transport == "named_pipe":  # whose client waits for our reading end
        while not await server.connect(0):
            await asyncio.sleep(0.001)
    peer = await meeting
    assert await server.connect(0)
    peer.close()
    await server.close()


async def test_one_try_is_not_spent_on_a_last_peer_that_does_not_read() -> None:
    server = make_ipc_channel(transport="tcp", linger=PATIENCE)
    first = dial(server.out_path, server.in_path)
    assert await server.connect()
    writing = asyncio.create_task(server.write(bytes(20 * 2**20)))
    first.send(CLOSE)
    assert await server.read() is None
    second = dial(server.out_path, server.in_path)
    assert await server.connect(0)
    second.send(frame(b"second"))
    assert await server.read() == b"second"
    with pytest.raises(ChannelClosedError):
        await writing
    first.close()
    second.close()
    await server.close()


@pytest.mark.parametrize("turns", range(1, 6))  # a task that has not begun is not run
async def test_a_close_that_is_cancelled_while_it_stops_a_connect(
    connect: Connect, turns: int
) -> None:
    async with connect() as (ours, peer):
        peer.close()
        assert await ours.read() is None
        connecting = asyncio.create_task(ours.connect(PATIENCE))
        closing = asyncio.create_task(ours.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({connecting, closing})
        assert ours._session.closed  # type: ignore[attr-defined]  # looks inside


async def test_connect_while_connected(connect: Connect) -> None:
    async with connect() as (ours, peer):
        assert await ours.connect(0)
        peer.send(frame(b"same session"))
        assert await ours.read() == b"same session"


async def test_connect_while_more_than_is_read_ahead_waits(connect: Connect) -> None:
    """Nothing is being read then that would tell of an end: the stream is asked."""
    async with connect() as (ours, peer):
        wire = frame(b"x" * 500_000) + frame(b"more")
        sending = asyncio.create_task(asyncio.to_thread(peer.send, wire))
        receiver = ours._session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: not receiver.reading)
        assert await ours.connect(0)
        assert await ours.read() == b"x" * 500_000
        assert await ours.read() == b"more"
        await sending


async def test_a_second_connect_at_once_is_refused(
    role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE))
    await asyncio.sleep(0)
    with pytest.raises(ConnectInProgressError):
        await ours.connect(PATIENCE)
    await ours.close()
    assert await connecting is False


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("1", TypeError),
        (None, TypeError),
        (True, TypeError),
        (10**400, ValueError),
    ],
)
async def test_impossible_timeouts(
    role: str, transport: str, tmp_path: Path, timeout: Any, error: type[Exception]
) -> None:
    ours = make(role, transport, tmp_path)
    with pytest.raises(error, match="timeout"):
        await ours.connect(timeout)
    await ours.close()


async def test_both_ends_ours(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    client = make_ipc_channel_client(server.out_path, server.in_path)
    assert all(await asyncio.gather(client.connect(), server.connect()))
    await client.write(b"ping")
    assert await server.read() == b"ping"
    await server.write(b"pong")
    assert await client.read() == b"pong"
    await client.close()
    assert await server.read() is None
    assert server.end_reason == "clean"
    await server.close()


@pytest.mark.covers("SES-2")
@pytest.mark.parametrize(
    "transport", ["tcp"]
)  # transports/test_passers_by.py has named pipes
async def test_a_client_that_came_wrote_and_left(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    peer = dial(server.out_path, server.in_path)
    peer.send(frame(b"gone already") + CLOSE)
    peer.end_writing()  # a socket that is closed has no owner that could be checked
    assert await server.connect()
    assert await server.read() == b"gone already"
    assert await server.read() is None
    peer.close()
    await server.close()


@pytest.mark.covers("SES-40")
async def test_reconnect(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    before = open_descriptors()
    for number in range(5):
        assert not await server.connect(0)
        peer = await meet(server)
        assert server.end_reason is None
        peer.send(frame(b"session %d" % number) + frame(b"unread") + b"\0\0")
        assert ("1 unread messages are dropped" in caplog.text) == (number > 0)
        caplog.clear()
        assert await server.read() == b"session %d" % number
        await server.write(b"answer %d" % number)
        assert await asyncio.to_thread(peer.recv_frame) == b"answer %d" % number
        peer.close()
        while server.connected:
            await asyncio.sleep(0)
        assert server.end_reason is None  # the reader has not reached the end (SES-6)
        assert server.last_exception is None
    assert not await server.connect(0)
    assert open_descriptors() == before
    await server.close()


async def test_the_next_client_may_be_early(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    first = make_ipc_channel_client(server.out_path, server.in_path)
    await asyncio.gather(first.connect(), server.connect())
    await first.write(b"first")
    assert await server.read() == b"first"
    await first.close()
    while server.end_reason is None:  # the server has noticed, but not connected again
        await asyncio.sleep(0)
    second = make_ipc_channel_client(server.out_path, server.in_path)
    connecting = asyncio.create_task(second.connect())
    await asyncio.sleep(0.02)
    assert await server.connect()
    assert await connecting
    await second.write(b"second")
    assert await server.read() == b"second"
    await second.close()
    await server.close()


async def test_a_client_connects_again(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
    client = make_ipc_channel_client(server.out_path, server.in_path)
    for number in range(3):
        assert all(await asyncio.gather(client.connect(), server.connect()))
        await client.write(b"%d" % number)
        assert await server.read() == b"%d" % number
        # Both learn that this session is over, without closing their channels.
        await server._session.close()  # type: ignore[attr-defined]  # looks inside
        assert await client.read() is None
    await client.close()
    await server.close()


@pytest.mark.covers("SES-40")
async def test_a_peer_that_left_much_unread_is_no_peer_any_more(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    first = await meet(server)
    receiver = server._session.receiver  # type: ignore[attr-defined]  # looks inside
    # So much that nothing more is read, but nothing that would wait in the kernel.
    messages = frame(bytes(150_000)) + frame(bytes(READ_AHEAD - 150_000))
    await asyncio.to_thread(first.send, messages)
    await eventually(lambda: not receiver.reading)  # so that the end is not seen
    first.close()
    second = await meet(server)
    second.send(frame(b"second"))
    assert await server.read() == b"second"
    second.close()
    await server.close()


async def test_an_abort_ends_a_disconnect_that_waits(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        await ours.write(b"read before the close frame")
        closing = asyncio.create_task(ours.disconnect())
        assert await asyncio.to_thread(peer.recv_frame) == b"read before the close frame"
        assert await asyncio.to_thread(peer.recv, 4) == CLOSE
        ours.abort()
        await asyncio.wait_for(closing, PATIENCE / 2)


@pytest.mark.parametrize("transport", ["tcp"])
@pytest.mark.parametrize("turns", range(4))
async def test_a_second_connect_as_the_peer_of_the_first_comes(
    transport: Any, turns: int
) -> None:
    """Until the first one has returned, the peer is its own."""
    server = make_ipc_channel(transport=transport)
    first = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    with socket.create_connection(("127.0.0.1", int(server.in_path))) as peer:
        peer.sendall(frame(b"for the first"))
        while server._status is not Status.PENDING:  # type: ignore[attr-defined]  # looks inside
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        if not first.done():
            with pytest.raises(ConnectInProgressError):
                await server.connect(PATIENCE)
        assert await first
        assert await server.read() == b"for the first"
    await server.close()


@pytest.mark.parametrize("transport", ["tcp"])
async def test_a_close_as_a_peer_was_accepted(transport: Any) -> None:
    failures: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    for _ in range(20):
        server = make_ipc_channel(transport=transport)
        connecting = asyncio.create_task(server.connect(PATIENCE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        address = ("127.0.0.1", int(server.in_path))
        peers = [socket.create_connection(address) for _ in range(40)]
        while not server._listener._accepting.done():  # type: ignore[attr-defined]  # looks inside
            await asyncio.sleep(0)
        await server.close()
        assert not await connecting
        for peer in peers:
            peer.close()
    assert failures == []


async def test_an_abort_drops_a_session_that_no_connect_has_returned(
    transport: Any,
) -> None:
    server = make_ipc_channel(transport=transport)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    peer = await asyncio.to_thread(dial, server.out_path, server.in_path)
    came = (Status.PENDING, Status.CONNECTED)
    while server._status not in came:  # type: ignore[attr-defined]  # looks inside
        await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait({connecting})
    if connecting.cancelled():  # or else it has returned just before
        assert server.connected
    server.abort()
    assert not server.connected
    assert not await server.connect(0)
    peer.close()
    await server.close()


@pytest.mark.parametrize("transport", ["named_pipe"])
async def test_a_cancelled_close_leaves_another_that_waits_alone(transport: Any) -> None:
    server = make_ipc_channel(transport=transport, linger=PATIENCE)
    peer = await meet(server)
    writing = asyncio.create_task(server.write(bytes(4 * 2**20)))
    await asyncio.sleep(0)
    first = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    second = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    assert Path(server.in_path).exists(), "the first one still sends"
    peer.close()
    await first
    await asyncio.wait({writing})
    assert isinstance(writing.exception(), ChannelClosedError)
    assert not Path(server.in_path).exists()
