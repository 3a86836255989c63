"""The life of a channel: connect, its timeout, cancellation, reconnect, close, use after."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raw
from conftest import Connect
from ipc_channel import (
    ChannelClosedError,
    ConnectInProgressError,
    ConnectTimeoutError,
    IPCChannel,
    IPCChannelClient,
    NotConnectedError,
    WrongLoopError,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import CLOSE, PATIENCE, dial, eventually, frame, open_descriptors


def make(role: str, transport: Any, directory: Path, **options: Any) -> IPCChannelClient:
    """Make a channel that nobody will connect to."""
    if role == "server":
        return make_ipc_channel(transport=transport, **options)
    if transport == "tcp":
        return make_ipc_channel_client("1", "1", **options)  # nobody listens on port 1
    return make_ipc_channel_client(f"{directory}/in", f"{directory}/out", **options)


# connect


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


async def test_connect_while_connected(connect: Connect) -> None:
    async with connect() as (ours, peer):
        assert await ours.connect(0)
        peer.send(frame(b"same session"))
        assert await ours.read() == b"same session"


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
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]
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


async def test_a_client_that_came_wrote_and_left(transport: str) -> None:
    if transport == "named_pipe":
        return  # test_named_pipe.py has this in every order of opening
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]
    peer = dial(server.out_path, server.in_path)
    peer.send(frame(b"gone already") + CLOSE)
    peer.end_writing()  # a socket that is closed has no owner that could be checked
    assert await server.connect()
    assert await server.read() == b"gone already"
    assert await server.read() is None
    peer.close()
    await server.close()


# session after session


async def test_reconnect(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]
    before = open_descriptors()
    for number in range(5):
        assert not await server.connect(0)
        meeting = asyncio.to_thread(dial, server.out_path, server.in_path)
        peer, came = await asyncio.gather(meeting, server.connect())
        assert came
        assert server.end_reason is None
        peer.send(frame(b"session %d" % number) + frame(b"unread") + b"\0\0")
        assert await server.read() == b"session %d" % number
        await server.write(b"answer %d" % number)
        assert await asyncio.to_thread(peer.recv_frame) == b"answer %d" % number
        peer.close()
        while server.end_reason is None:
            await asyncio.sleep(0)
        assert server.end_reason == "truncated"
    assert not await server.connect(0)
    assert open_descriptors() == before
    await server.close()


async def test_the_next_client_may_be_early(transport: str) -> None:
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]
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
    server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]
    client = make_ipc_channel_client(server.out_path, server.in_path)
    for number in range(3):
        assert all(await asyncio.gather(client.connect(), server.connect()))
        await client.write(b"%d" % number)
        assert await server.read() == b"%d" % number
        # Both learn that this session is over, without closing their channels.
        await server._session.close()  # type: ignore[attr-defined]
        assert await client.read() is None
    await client.close()
    await server.close()


# close


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
    async with connect() as (ours, peer):
        peer.close()
        await ours.close()
        await ours.close()


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


async def test_close_wakes_readers(connect: Connect) -> None:
    async with connect() as (ours, _):
        readers = [asyncio.create_task(ours.read()) for _ in range(3)]
        await asyncio.sleep(0)
        await ours.close()
        assert await asyncio.gather(*readers) == [None, None, None]
        assert await ours.read() is None
        assert ours.end_reason == "local"


async def test_close_does_not_wait_for_ever(connect: Connect, role: str) -> None:
    async with connect(linger=0.1) as (ours, peer):
        before = open_descriptors()
        writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
        await asyncio.sleep(0.01)
        start = time.monotonic()
        await ours.close()
        assert time.monotonic() - start >= 0.1
        freed = before - open_descriptors()
        # Two pipes; a socket, and the server's listening one.
        assert len(freed) == (1 if peer.sock and role == "client" else 2)
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
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(20, 220):
            await cycle(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 200 * 1000, "over 1 kB a cycle"
    finally:
        tracemalloc.stop()
    assert open_descriptors() == before
    assert len(asyncio.all_tasks()) == tasks
    # A dead entry in the selector would make one of the next descriptors deaf.
    async with raw.connected("tcp", "server", tmp_path) as (ours, peer):
        peer.send(frame(b"not deaf"))
        assert await ours.read() == b"not deaf"


# use before, after and elsewhere


async def test_use_before_connect(role: str, transport: str, tmp_path: Path) -> None:
    ours = make(role, transport, tmp_path)
    with pytest.raises(NotConnectedError):
        await ours.read()
    with pytest.raises(NotConnectedError) as caught:
        await ours.write(b"x")
    assert isinstance(caught.value, ValueError)
    await ours.close()


async def test_use_after_close(role: str, transport: str, tmp_path: Path) -> None:
    ours = make(role, transport, tmp_path)
    await ours.close()
    assert await ours.read() is None
    with pytest.raises(ChannelClosedError):
        await ours.write(b"x")
    with pytest.raises(ChannelClosedError):
        await ours.connect()


async def test_use_after_a_session_and_close(connect: Connect) -> None:
    async with connect() as (ours, _):
        await ours.close()
        assert await ours.read() is None
        with pytest.raises(ChannelClosedError):
            await ours.write(b"x")
        with pytest.raises(ChannelClosedError):
            await ours.connect()


async def test_a_loop_that_is_not_the_running_one(
    role: str, transport: str, tmp_path: Path
) -> None:
    other = asyncio.new_event_loop()
    ours = make(role, transport, tmp_path, loop=other)
    with pytest.raises(WrongLoopError):
        await ours.connect()
    with pytest.raises(WrongLoopError):
        await ours.write(b"x")
    await ours.close()
    other.close()
    ours = make(role, transport, tmp_path, loop=asyncio.get_running_loop())
    assert not await ours.connect(0)
    await ours.close()


async def test_use_on_another_loop(connect: Connect) -> None:
    async def use(channel: IPCChannelClient) -> None:
        for using in (channel.read, lambda: channel.write(b"x"), channel.close):
            with pytest.raises(WrongLoopError):
                await using()

    async with connect() as (ours, peer):
        await asyncio.to_thread(asyncio.run, use(ours))
        peer.send(frame(b"unharmed"))
        assert await ours.read() == b"unharmed"


async def test_close_after_its_loop_has_gone(transport: Any) -> None:
    def make_in_a_loop() -> tuple[IPCChannel, raw.Raw]:
        async def go() -> tuple[IPCChannel, raw.Raw]:
            server = make_ipc_channel(transport=transport)
            meeting = asyncio.to_thread(dial, server.out_path, server.in_path)
            peer, _ = await asyncio.gather(meeting, server.connect())
            return server, peer

        return asyncio.run(go())

    before = open_descriptors()
    server, peer = await asyncio.to_thread(make_in_a_loop)
    await server.close()
    peer.close()
    assert open_descriptors() == before


async def test_async_with(transport: Any) -> None:
    async def serve(server: IPCChannel) -> list[bytes]:
        async with server:
            return [message async for message in server]

    server = make_ipc_channel(transport=transport)
    serving = asyncio.create_task(serve(server))
    async with make_ipc_channel_client(server.out_path, server.in_path) as client:
        for number in range(3):
            await client.write(b"%d" % number)
    assert await serving == [b"0", b"1", b"2"]


async def test_dropped_without_close(transport: Any) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    meeting = asyncio.to_thread(dial, server.out_path, server.in_path)
    peer, _ = await asyncio.gather(meeting, server.connect())
    with pytest.warns(ResourceWarning, match="unclosed .*Channel"):
        del server
        gc.collect()
    peer.close()
    await raw.eventually(lambda: open_descriptors() == before)


async def test_dropped_without_use(transport: Any) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del server
        gc.collect()
    assert open_descriptors() == before
    client = make_ipc_channel_client("5000", "5000")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del client
        gc.collect()


async def test_five_hundred_channels_in_one_loop(transport: Any) -> None:
    async def serve(number: int) -> None:
        server = make_ipc_channel(transport=transport)
        client = make_ipc_channel_client(server.out_path, server.in_path)
        assert all(await asyncio.gather(server.connect(60), client.connect(60)))
        gate.append(number)
        await raw.eventually(lambda: len(gate) >= 500)
        message = b"%d" % number * 1000
        await asyncio.gather(client.write(message), server.write(message))
        assert [await server.read(), await client.read()] == [message, message]
        await client.close()
        assert await server.read() is None
        await server.close()

    gate: list[int] = []
    await asyncio.gather(*(serve(number) for number in range(500)))


async def test_connect_timeout_error_of_async_with(
    monkeypatch: pytest.MonkeyPatch, role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)

    async def nobody(timeout: float = 0) -> bool:
        return False

    monkeypatch.setattr(ours, "connect", nobody)
    with pytest.raises(ConnectTimeoutError):
        async with ours:
            pytest.fail("the body must not run")
    with pytest.raises(ChannelClosedError):
        await ours.write(b"x")


@pytest.mark.parametrize(
    "state", ["ended", "clean", "write failed", "write waited", "silent half-close"]
)
async def test_nothing_is_done_while_nothing_happens(connect: Connect, state: str) -> None:
    """Descriptors are ready for ever after an end: one that stays watched takes a core."""
    async with connect(linger=0) as (ours, peer):
        if state == "ended":
            peer.close()
            assert await ours.read() is None
        elif state == "clean":
            peer.send(CLOSE)
            peer.end_writing()
            assert await ours.read() is None
        elif state == "write failed":
            writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
            await asyncio.sleep(0.01)
            peer.close()
            await asyncio.wait({writing})
            assert writing.exception()
        elif state == "write waited":
            writing = asyncio.create_task(ours.write(bytes(20 * 2**20)))
            await asyncio.to_thread(peer.recv_frame)
            await writing
        else:
            peer.end_writing()
        await asyncio.sleep(0.01)
        start = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - start < 0.15


async def test_nothing_is_read_once_closing_has_begun(connect: Connect) -> None:
    async with connect(linger=PATIENCE) as (ours, peer):
        peer.send(frame(b"queued"))
        await eventually(lambda: ours._session.queued == 1)  # type: ignore[attr-defined]
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
        receiver = ours._session._receiver  # type: ignore[attr-defined]
        await eventually(lambda: not receiver._reading)
        writing = asyncio.create_task(ours.write(b"y" * 3_000_000))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(ours.close())
        await asyncio.wait_for(stuck, PATIENCE)
        assert await asyncio.to_thread(peer.recv_all) == [b"y" * 3_000_000]
        peer.close()
        await closing
        await asyncio.gather(writing, return_exceptions=True)
