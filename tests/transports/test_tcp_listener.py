"""The listening socket of a TCP server: who is let in, turned away, or kept waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from descriptors import no_descriptor_left, open_descriptors
from ipc_channel import (
    FrameTooLargeError,
    Helper,
    ResetError,
    TCPSocketChannel,
    make_ipc_channel_client,
)
from ipc_channel.transports.peer_user import Ends, OwnerQuery, _search_tables, peer_user
from ipc_channel.transports.tcp_listener import Listener
from raw import PATIENCE, Raw, dial, eventually, frame


@pytest.mark.covers("RDV-40")
async def test_the_port_is_held_from_construction() -> None:
    server = TCPSocketChannel()
    assert server.in_path == server.out_path
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError):
            thief.bind(("127.0.0.1", int(server.in_path)))
            thief.listen()
    await server.close()
    with pytest.raises(ConnectionRefusedError):
        dial(server.in_path, server.in_path)


def test_a_port_that_cannot_be_had_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def listen(self, backlog: int = 0, /) -> None:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr("ipc_channel.transports.tcp_listener.socket.socket", Refusing)
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)) as caught:
            TCPSocketChannel()
    assert open_descriptors() == before, caught  # which holds on to all variables


@pytest.mark.covers("RDV-40", "RDV-46")
async def test_loopback_only() -> None:
    server = TCPSocketChannel()
    listening = server._listener._socket
    assert listening.getsockname()[0] == "127.0.0.1"
    assert not listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    await server.close()


@pytest.mark.covers("RDV-41")
async def test_two_clients_one_is_served() -> None:
    server = TCPSocketChannel()
    peers = [dial(server.in_path, server.in_path) for _ in range(5)]
    assert await server.connect()
    for number, peer in enumerate(peers):
        with contextlib.suppress(ConnectionError):
            peer.send(frame(b"%d" % number))
    served = await server.read()
    assert served == b"0"
    for peer in peers[1:]:
        assert await asyncio.to_thread(peer.is_ended)
    await server.write(b"you are it")
    assert await asyncio.to_thread(peers[0].recv_frame) == b"you are it"
    late = dial(server.in_path, server.in_path)
    assert await asyncio.to_thread(late.is_ended)
    for peer in [*peers, late]:
        peer.close()
    await server.close()


async def test_a_restarted_peer_is_not_turned_away() -> None:
    """It comes before we have noticed that its predecessor has gone."""
    server = TCPSocketChannel()
    first = dial(server.in_path, server.in_path)
    assert await server.connect()
    first.send(frame(b"x" * 500_000))  # more than is read ahead: its end is not seen
    await eventually(lambda: not server._session.receiver.reading)  # type: ignore[union-attr]  # looks inside
    first.close()
    second = dial(server.in_path, server.in_path)
    second.send(frame(b"second"))
    await eventually(lambda: server._listener._loop is None)  # it is not watched for ever
    assert await server.read() == b"x" * 500_000
    assert await server.read() is None
    assert await server.connect()
    assert await server.read() == b"second"
    second.close()
    await server.close()


async def as_a_peer_is_found(server: TCPSocketChannel) -> tuple[asyncio.Task[bool], Raw]:
    """Return in the very turn in which somebody was let in, before ``connect`` knows."""
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await eventually(lambda: server._listener._loop is not None)
    opening: Any = server._connecting
    peer = dial(server.in_path, server.in_path)
    while opening._fut_waiter is None or not opening._fut_waiter.done():
        await asyncio.sleep(0)
    return connecting, peer


async def cancelled_as_a_peer_was_found(server: TCPSocketChannel) -> Raw:
    connecting, peer = await as_a_peer_is_found(server)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    return peer


@pytest.mark.covers("RDV-13")
async def test_a_peer_that_comes_as_connect_gives_up_is_kept() -> None:
    """Even if it leaves before the next: let in, it takes itself for met."""
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    peer.send(frame(b"hello"))
    peer.close()
    assert await server.connect(PATIENCE)
    assert await server.read() == b"hello"
    await server.close()


async def test_who_comes_after_an_end_waits_for_the_next_connect() -> None:
    server = TCPSocketChannel(max_message_size=10)
    first = dial(server.in_path, server.in_path)
    assert await server.connect()
    first.send(b"\xff\xff\xff\xff")
    with pytest.raises(FrameTooLargeError):
        await server.read()
    second = dial(server.in_path, server.in_path)
    second.send(frame(b"second"))
    await asyncio.sleep(0.01)
    first.close()
    assert await server.connect()
    assert await server.read() == b"second"
    second.close()
    await server.close()


def full(*_: object) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_nobody_is_accepted_whom_nobody_could_ask() -> None:
    """The last descriptor is not for the peer: it would take itself for met."""
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    with no_descriptor_left(but=1), pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        await server.connect(PATIENCE)
    assert peer.sock
    assert peer_user(peer.sock) is None, "a peer that asks is told that nobody has it yet"
    assert await server.connect(PATIENCE)
    assert peer_user(peer.sock) == os.geteuid()
    peer.close()
    await server.close()


async def test_turning_away_rests_without_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    monkeypatch.setattr(server._listener, "_accept_some", full)
    late = dial(server.in_path, server.in_path)
    await eventually(lambda: server._listener._loop is None)
    late.close()
    peer.close()
    await server.close()


async def test_a_peer_that_could_not_be_asked_for_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"patient"))
    with monkeypatch.context() as patch:
        patch.setattr(OwnerQuery, "owners", full)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await server.connect(PATIENCE)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"patient"
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-47")
async def test_who_comes_late_is_reset() -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    late = dial(server.in_path, server.in_path)
    with pytest.raises(ConnectionResetError):  # not an end of stream, which looks orderly
        await asyncio.to_thread(late.recv, 1)
    late.close()
    peer.close()
    await server.close()


@pytest.mark.covers("RDV-49")
async def test_a_client_that_comes_late_is_told_so() -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    late = make_ipc_channel_client(server.out_path, server.in_path)
    assert await late.connect(PATIENCE)
    with pytest.raises(ResetError):
        await late.read()
    assert late.end_reason == "reset"
    await late.close()
    peer.close()
    await server.close()


async def test_a_kept_connection_is_closed_with_the_channel() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    await server.close()
    assert await asyncio.to_thread(peer.recv_all) == []
    peer.close()
    assert open_descriptors() == before


async def test_a_peer_that_is_found_as_the_channel_is_closed() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    connecting, peer = await as_a_peer_is_found(server)
    await server.close()
    assert await connecting is False
    assert await asyncio.to_thread(peer.is_ended)
    assert len(open_descriptors() - before) == 1, "the peer's own"
    peer.close()


async def test_a_kept_connection_is_ended_by_disconnect() -> None:
    server = TCPSocketChannel()
    peer = await cancelled_as_a_peer_was_found(server)
    await server.disconnect()
    assert await asyncio.to_thread(peer.recv_all) == []
    assert not await server.connect(0)
    peer.close()
    await server.close()


async def test_cancelled_as_the_descriptors_are_at_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = Listener(frozenset(), logging.getLogger())
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(listener.accept(loop))
    await asyncio.sleep(0)

    def full_and_cancelled() -> list[socket.socket]:
        loop.call_soon(accepting.cancel)  # before it hears of the error
        return full()  # type: ignore[no-any-return]

    monkeypatch.setattr(listener, "_accept_some", full_and_cancelled)
    peer = dial(str(listener.port), str(listener.port))
    with pytest.raises(asyncio.CancelledError):
        await accepting
    peer.close()
    listener.close()


async def test_a_closed_listener_is_not_watched() -> None:
    listener = Listener(frozenset(), logging.getLogger())
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(listener.accept(loop))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    fd = listener._socket.fileno()
    listener.close()
    assert not loop.remove_reader(fd)
    listener.admit(loop)
    assert not loop.remove_reader(fd)


async def test_who_could_not_be_asked_for_is_closed_with_the_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OwnerQuery, "owners", full)
    server = TCPSocketChannel()
    before = open_descriptors()
    peer = dial(server.in_path, server.in_path)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        await server.connect(PATIENCE)
    assert len(open_descriptors() - before) == 2  # both ends
    await server.close()
    assert await asyncio.to_thread(peer.is_ended)
    peer.close()


async def test_no_descriptors_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    server = TCPSocketChannel()
    monkeypatch.setattr(server._listener, "_accept_some", full)
    with pytest.raises(OSError, match="Too many open files"):
        await server.connect(PATIENCE)
    await server.close()


async def admitted(server: TCPSocketChannel, *data: bytes) -> Raw:
    """Return a peer that the server has let in while no connect waits."""
    peer = dial(server.in_path, server.in_path)
    for part in data:
        peer.send(part)
    await eventually(lambda: server._listener._admitted is not None)
    return peer


async def test_a_peer_that_comes_between_two_sessions_is_let_in_at_once() -> None:
    """So it may leave before the next connect, and nothing that it sent is lost."""
    server = TCPSocketChannel()
    first = dial(server.in_path, server.in_path)
    assert await server.connect()
    first.close()
    assert await server.read() is None
    second = await admitted(server, frame(b"while nobody waited"))
    assert peer_user(second.sock) == os.geteuid()  # type: ignore[arg-type] # has a socket
    second.close()
    assert await server.connect(0)
    assert await server.read() == b"while nobody waited"
    await server.close()


async def test_a_peer_that_is_let_in_and_leaves_silently_is_forgotten() -> None:
    server = TCPSocketChannel()
    assert not await server.connect(0)
    gone = await admitted(server)
    gone.close()
    assert not await server.connect(0)
    reset = await admitted(server)
    reset.reset()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect(PATIENCE)
    peer.send(frame(b"here"))
    assert await server.read() == b"here"
    peer.close()
    await server.close()


async def test_a_peer_that_was_let_in_is_closed_with_the_channel() -> None:
    before = open_descriptors()
    server = TCPSocketChannel()
    assert not await server.connect(0)
    peer = await admitted(server)
    await server.close()
    assert await asyncio.to_thread(peer.is_ended)
    peer.close()
    assert open_descriptors() == before


def strangers(server: TCPSocketChannel, count: int) -> list[socket.socket]:
    """Connect ``count`` times, and leave at once: nobody can tell whose those were."""
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
    """Return how many peers each line says that the server has turned away."""
    lines = [record.getMessage() for record in caplog.records]
    return [int(line.split()[4]) for line in lines if "turned away" in line]


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
    assert "that had left already" in caplog.text


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
    assert "turned away 1 peer that had left already; a client has to stay" in said
    assert not await server.connect(0)
    assert "no client came" in str(server.last_exception), "what was told is not told again"
    await server.close()


@pytest.mark.usefixtures("many_descriptors")
async def test_without_sock_diag_the_table_is_read_once_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[int] = []

    def search(wanted: set[Ends]) -> dict[Ends | None, int | None]:
        reads.append(len(wanted))
        return _search_tables(wanted)

    monkeypatch.setattr("ipc_channel.transports.peer_user._open_diag", lambda: None)
    monkeypatch.setattr("ipc_channel.transports.peer_user._search_tables", search)
    server = TCPSocketChannel()
    strangers(server, 64)
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"last"))
    assert await server.connect(PATIENCE)
    assert await server.read() == b"last"
    assert reads == [16, 49]  # each look is for as many as it can be, once it is slow
    peer.close()
    await server.close()


async def test_two_loops_one_after_the_other_have_the_listener() -> None:
    """The first one may live on, in another thread."""
    server = TCPSocketChannel()
    ready, done = threading.Event(), threading.Event()

    async def wait_elsewhere() -> None:
        assert not await server.connect(0)  # it is admitting from now on
        ready.set()
        await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(wait_elsewhere(),))
    thread.start()
    await asyncio.to_thread(ready.wait)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    peer = await asyncio.to_thread(dial, server.in_path, server.in_path)
    assert await connecting
    peer.send(frame(b"for the second"))
    assert await server.read() == b"for the second"
    done.set()
    await asyncio.to_thread(thread.join)
    peer.close()
    await server.close()


@pytest.mark.parametrize("data", [[], [frame(b"not the helper")]], ids=["silent", "spoke"])
async def test_who_came_before_a_helper_was_started_is_not_the_helper(
    data: list[bytes],
) -> None:
    server = TCPSocketChannel()
    assert not await server.connect(0)
    prober = await admitted(server, *data)
    code = (
        "import asyncio, ipc_channel as ipc\n"
        "async def main():\n"
        "    async with ipc.make_ipc_channel_client(*ipc.from_environment()) as channel:\n"
        "        await channel.write(b'the helper')\n"
        "asyncio.run(main())"
    )
    async with Helper([sys.executable, "-c", code], server) as channel:
        assert await channel.read() == b"the helper"
    assert await asyncio.to_thread(prober.is_ended)
    prober.close()


async def test_an_abort_leaves_a_connect_that_waits_alone() -> None:
    server = TCPSocketChannel()
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await eventually(lambda: server._listener._loop is not None)
    server.abort()
    peer = dial(server.in_path, server.in_path)
    assert await connecting
    peer.close()
    await server.close()


@pytest.mark.parametrize("moment", ["before", "between"])
async def test_nobody_of_the_queue_is_the_helper(moment: str) -> None:
    server = TCPSocketChannel()
    if moment == "between":
        assert not await server.connect(0)
    probers = [dial(server.in_path, server.in_path) for _ in range(20)]
    for prober in probers:
        prober.send(frame(b"not the helper"))
    server.abort()  # as Helper.start does
    for prober in probers:
        assert await asyncio.to_thread(prober.is_ended)
        prober.close()
    assert not await server.connect(0)
    await server.close()


async def test_an_interrupt_as_a_batch_is_looked_at_loses_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupt(BaseException):
        pass

    def interrupted(*_: object) -> Any:
        raise Interrupt

    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    peer.send(frame(b"still here"))
    with monkeypatch.context() as patch:
        patch.setattr(OwnerQuery, "owners", interrupted)
        with pytest.raises(Interrupt):
            await server.connect(PATIENCE)
    assert await server.connect(PATIENCE)
    assert await server.read() == b"still here"
    peer.close()
    await server.close()


async def test_turning_away_goes_on_once_there_are_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    with monkeypatch.context() as patch:
        patch.setattr(server._listener, "_accept_some", full)
        late = dial(server.in_path, server.in_path)
        await eventually(lambda: server._listener._loop is None)
    assert await asyncio.to_thread(late.is_ended)
    late.close()
    peer.close()
    await server.close()


async def test_another_loop_that_watches_is_left_without_a_dead_entry() -> None:
    """The descriptor stays open until that loop has let go of it."""
    server = TCPSocketChannel()
    ready, go_on = threading.Event(), threading.Event()
    left: list[bool] = []

    async def admit_elsewhere() -> None:
        assert not await server.connect(0)
        fd = server._listener._socket.fileno()
        ready.set()
        go_on.wait()  # its loop stands still, while the other one closes
        await asyncio.sleep(0.01)
        left.append(asyncio.get_running_loop().remove_reader(fd))

    thread = threading.Thread(target=asyncio.run, args=(admit_elsewhere(),))
    thread.start()
    await asyncio.to_thread(ready.wait)
    await server.close()
    with pytest.raises(ConnectionRefusedError):
        dial(server.in_path, server.in_path)
    go_on.set()
    await asyncio.to_thread(thread.join)
    assert left == [False]
    assert server._listener._socket.fileno() == -1


class Elsewhere:
    """A loop in another thread that watches a listener, and stands still when told to."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._stands, self._goes_on = threading.Event(), threading.Event()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    async def begin(self) -> None:
        self._thread.start()
        await self.do(lambda: self._listener.admit(self.loop))

    async def do(self, work: Callable[[], object]) -> None:
        """Have it run ``work``, and wait until it has."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(work)
        self.loop.call_soon_threadsafe(done.set)
        assert await asyncio.to_thread(done.wait, PATIENCE)

    async def until_it_stands_still(
        self, before: Callable[[], object], after: Callable[[], object]
    ) -> None:
        """Have it run ``before``, stand still in its next turn, and then run ``after``."""

        def stand_still() -> None:
            self._stands.set()
            self._goes_on.wait(PATIENCE)
            after()

        def begin() -> None:
            before()
            self.loop.call_soon(stand_still)

        self.loop.call_soon_threadsafe(begin)
        assert await asyncio.to_thread(self._stands.wait, PATIENCE)

    def go_on(self) -> None:
        self._goes_on.set()

    async def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        await asyncio.to_thread(self._thread.join)


async def test_a_loop_that_another_has_relieved_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though it has been told of a peer already, and not yet that it is relieved."""
    threads: list[int] = []
    listener = Listener(frozenset(), logging.getLogger())
    accept_some = listener._accept_some

    def accept_and_tell() -> list[socket.socket]:
        threads.append(threading.get_ident())
        return accept_some()

    monkeypatch.setattr(listener, "_accept_some", accept_and_tell)
    port = str(listener.port)
    peers: list[Raw] = []
    other = Elsewhere(listener)
    await other.begin()
    # The selector tells of the peer in the turn in which the loop stands still, before.
    await other.until_it_stands_still(lambda: peers.append(dial(port, port)), int)
    accepting = asyncio.ensure_future(listener.accept(asyncio.get_running_loop()))
    await asyncio.sleep(0)
    other.go_on()
    await other.do(int)
    (await accepting).close()
    assert set(threads) == {threading.get_ident()}
    await other.end()
    peers[0].close()
    listener.close()


async def test_a_loop_that_has_the_socket_again_keeps_watching_it() -> None:
    """Though it is told only then that another loop had relieved it."""
    listener = Listener(frozenset(), logging.getLogger())
    other = Elsewhere(listener)
    await other.begin()
    await other.until_it_stands_still(int, lambda: listener.admit(other.loop))
    listener.admit(asyncio.get_running_loop())
    other.go_on()
    await other.do(int)
    assert listener._loop is other.loop
    peer = dial(str(listener.port), str(listener.port))
    await eventually(lambda: listener._admitted is not None)
    await other.end()
    peer.close()
    listener.close()


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
    monkeypatch.setattr("ipc_channel.transports.peer_user._open_diag", lambda: None)
    server = TCPSocketChannel()
    strangers(server, 40)
    assert not await server.connect(0)
    await eventually(lambda: len(pauses) >= 2)
    assert min(pauses) > 0
    await server.close()


def test_one_loop_at_a_time_looks_at_who_comes() -> None:
    """Another may still be at it, in its own thread, as the channel moves to the next."""
    server = TCPSocketChannel()
    listener = server._listener
    looking, done = threading.Event(), threading.Event()

    def look() -> None:
        looking.set()
        done.wait()

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        assert not await server.connect(0)
        listener._call_in(loop, look)

    async def take_over() -> None:
        assert not await server.connect(0)
        await server.close()

    first = threading.Thread(target=asyncio.run, args=(watch(),))
    first.start()
    looking.wait()
    second = threading.Thread(target=asyncio.run, args=(take_over(),))
    second.start()
    second.join(0.05)  # much more than it takes if nothing stops it
    waits = second.is_alive()
    done.set()
    first.join()
    second.join()
    assert waits
