"""Channels that are dropped without close: what they free, and that they warn."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import raw
from descriptors import open_descriptors
from forks import drop_in_a_child
from ipc_channel import (
    IPCChannel,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.transports.listener import Listener
from raw import dial, frame, meet


async def test_dropped_without_close(transport: Any) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    peer = await meet(server)
    shown = {"named_pipe": "in='/", "unix": "path='/", "tcp": "port="}[transport]
    with pytest.warns(ResourceWarning, match=f"unclosed <.*Channel {shown}"):
        del server
        gc.collect()
    peer.close()
    await raw.eventually(lambda: open_descriptors() == before)


@pytest.mark.parametrize("state", ["connected", "ended", "ended after a write that waited"])
async def test_dropped_within_a_cycle(transport: Any, state: str) -> None:
    """The collector frees what the channel holds in any order, its socket first perhaps."""
    before = open_descriptors()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda *args: complaints.append(args))
    server = make_ipc_channel(transport=transport)
    peer = await meet(server)
    if state.endswith("waited"):
        writing = asyncio.create_task(server.write(bytes(20 * 2**20)))
        await asyncio.to_thread(peer.recv_frame)
        await writing
    if state.startswith("ended"):
        peer.close()
        assert await server.read() is None
    cycle: list[Any] = [server]
    cycle.append(cycle)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del server, cycle
        gc.collect()
    await asyncio.sleep(0)  # the channel is freed in a turn of the loop
    peer.close()
    await raw.eventually(lambda: open_descriptors() == before)
    assert not complaints


async def test_dropped_while_warnings_are_errors(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning can only be printed then, but everything is freed all the same."""
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    peer = await meet(server)
    printed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del server
        gc.collect()
    assert [one.exc_type for one in printed] == [ResourceWarning]
    assert "Channel" in str(printed[0].exc_value)
    del printed
    peer.close()
    await raw.eventually(lambda: open_descriptors() == before)


def test_dropped_while_its_loop_rests(transport: Any) -> None:
    async def make_met() -> list[Any]:
        server = make_ipc_channel(transport=transport)
        peer = await meet(server)
        return [server, peer]

    before = open_descriptors()
    loop = asyncio.new_event_loop()
    met = loop.run_until_complete(make_met())
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.warns(ResourceWarning, match="unclosed"):
        del met[0]
        gc.collect()
    met[0].close()
    loop.close()
    assert open_descriptors() == before


async def test_dropped_in_another_thread(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector runs anywhere; the loop and its descriptors belong to one thread."""
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    peer = await meet(server)
    stream = server.session.stream  # type: ignore[attr-defined]  # looks inside
    threads = []

    def release(real: Any = stream.release) -> None:
        threads.append(threading.get_ident())
        real()

    stream.release = release

    def unwatch(listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        threads.append(threading.get_ident())
        real_unwatch(listener, loop)

    real_unwatch = Listener._unwatch
    monkeypatch.setattr(Listener, "_unwatch", unwatch)
    holder = [server]
    del server
    with pytest.warns(ResourceWarning, match="unclosed"):
        await asyncio.to_thread(holder.clear)
    await raw.eventually(lambda: bool(threads))
    peer.close()
    await raw.eventually(lambda: open_descriptors() == before)
    assert set(threads) == {threading.get_ident()}


async def test_a_client_dropped_without_close(transport: str, tmp_path: Path) -> None:
    before = open_descriptors()
    rendezvous = raw.Rendezvous(transport, tmp_path)
    client = make_ipc_channel_client(rendezvous.out_path, rendezvous.in_path)
    meeting = asyncio.to_thread(rendezvous.accept)
    peer, _ = await asyncio.gather(meeting, client.connect())
    with pytest.warns(ResourceWarning, match="unclosed .*Client"):
        del client
        gc.collect()
    peer.close()
    rendezvous.close()
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


def test_a_forked_child_that_drops_a_channel(transport: Any) -> None:
    """It shares the selector with us, and must not make us deaf."""

    async def make_met() -> tuple[list[IPCChannel], raw.Raw]:
        server = make_ipc_channel(transport=transport)
        peer = await meet(server)
        return [server], peer

    async def use(server: IPCChannel) -> None:
        assert await server.read() == b"still heard"
        if transport == "tcp":
            late = dial(server.in_path, server.in_path)
            assert await asyncio.to_thread(late.is_ended), "the listener is watched"
            late.close()
        await server.close()

    loop = asyncio.new_event_loop()
    servers, peer = loop.run_until_complete(make_met())
    drop_in_a_child(servers)
    peer.send(frame(b"still heard"))
    loop.run_until_complete(asyncio.wait_for(use(servers[0]), raw.PATIENCE))
    peer.close()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
