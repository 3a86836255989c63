"""Many strangers at the port of a TCP server: a batch at a time, and what is logged."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ipc_channel import (
    TCPSocketChannel,
)
from ipc_channel.transports.owner_linux import _search_tables
from ipc_channel.transports.tcp_ends import Ends
from ipc_channel.transports.tcp_listener import TCPListener as Listener
from raw import PATIENCE, dial, eventually, frame


def strangers(server: TCPSocketChannel, count: int) -> list[socket.socket]:
    """Connect ``count`` times, and leave at once: the kernel cannot tell the user then."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", int(server.in_path))):
            pass
    return []


@pytest.mark.covers("RDV-51")
@pytest.mark.parametrize("state", ["before", "waiting", "session", "between"])
async def test_strangers_get_a_batch_in_each_turn(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TCPSocketChannel()
    batches: list[int] = []
    accept_some = server._listener._accept_some

    def counted() -> list[socket.socket]:
        socks = accept_some()
        batches.append(len(socks))
        return socks

    monkeypatch.setattr(server._listener, "_accept_some", counted)
    peer = None
    if state in ("session", "between"):
        peer = dial(server.in_path, server.in_path)
        assert await server.connect(PATIENCE)
        if state == "between":
            peer.close()
            assert await server.read() is None
    elif state == "waiting":
        assert not await server.connect(0)
    batches.clear()
    strangers(server, 200)
    assert batches == [], "nothing happens but in the loop"
    if state == "before":
        assert not await server.connect(0.001)
    await eventually(lambda: sum(batches) == 200)
    assert max(batches) == 16
    if peer is not None:
        peer.close()
    await server.close()


@pytest.mark.covers("RDV-51")
async def test_the_queue_holds_many_strangers_and_a_helper() -> None:
    server = TCPSocketChannel()
    strangers(server, 500)
    peer = dial(server.in_path, server.in_path)  # it would wait for a second if it was full
    peer.send(frame(b"behind them"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"behind them"
    peer.close()
    await server.close()


def refusals_logged(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Return how many peers each line says that the server has refused."""
    lines = [record.getMessage() for record in caplog.records]
    return [int(line.split()[3]) for line in lines if "refused" in line]


async def test_refusals_are_logged_once_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ipc_channel.transports.refusals._INTERVAL", 1000.0)
    server = TCPSocketChannel()
    strangers(server, 100)
    assert not await server.connect(0.01)
    await eventually(lambda: server._listener.refusals._recent.total() == 100)
    assert refusals_logged(caplog) == [16], "a batch"
    await server.close()
    assert refusals_logged(caplog) == [16, 84], "what was not logged yet is so in the end"
    assert "that disconnected before being accepted" in caplog.text


async def test_refusals_are_all_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ipc_channel.transports.refusals._INTERVAL", 0.001)
    server = TCPSocketChannel()
    assert not await server.connect(0)
    for total in (20, 40):
        strangers(server, 20)
        await eventually(lambda total=total: sum(refusals_logged(caplog)) == total)  # type: ignore[misc]
    await server.close()
    assert sum(refusals_logged(caplog)) == 40


@pytest.mark.covers("RDV-42")
async def test_a_connect_that_missed_a_peer_says_whom_it_turned_away() -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"and away"))
    peer.close()
    assert not await server.connect(0.01)
    said = str(server.last_exception)
    assert "refused 1 peer that disconnected before being accepted; a client must" in said
    assert not await server.connect(0)
    assert "no client connected" in str(server.last_exception), (
        "what was told is not told again"
    )
    await server.close()


@pytest.mark.usefixtures("many_descriptors")
async def test_without_sock_diag_the_table_is_read_once_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[int] = []

    def search(wanted: set[Ends]) -> dict[Ends | None, int | None]:
        reads.append(len(wanted))
        return _search_tables(wanted)

    monkeypatch.setattr("ipc_channel.transports.owner_linux._open_diag", lambda: None)
    monkeypatch.setattr("ipc_channel.transports.owner_linux._search_tables", search)
    server = TCPSocketChannel()
    strangers(server, 64)
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"last"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"last"
    assert reads == [16, 49]  # each look is for as many as it can be, once it is slow
    peer.close()
    await server.close()


def test_refusals_are_logged_though_the_loop_of_the_last_ones_has_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = TCPSocketChannel()

    async def refuse(count: int) -> None:
        strangers(server, count)
        assert not await server.connect(0)

    for count in (3, 4):
        asyncio.run(refuse(count))
    assert refusals_logged(caplog) == [3, 4]
    asyncio.run(server.close())


async def test_reading_the_table_leaves_as_much_time_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def choose(listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        begin = loop.time()
        real(listener, loop)
        assert listener._loop is None, "it does not look at the next batch"
        assert listener._resumption is not None
        pauses.append(listener._resumption.when() - begin)

    real = Listener._choose
    monkeypatch.setattr(Listener, "_choose", choose)
    monkeypatch.setattr("ipc_channel.transports.owner_linux._open_diag", lambda: None)
    server = TCPSocketChannel()
    strangers(server, 40)
    assert not await server.connect(0)
    await eventually(lambda: len(pauses) >= 2)
    assert min(pauses) > 0
    await server.close()
