"""One listening socket and several event loops, in threads of their own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ipc_channel import TCPSocketChannel, make_ipc_channel
from ipc_channel.transports.tcp_listener import TCPListener as Listener
from raw import PATIENCE, Raw, dial, eventually, frame


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
        await eventually(lambda: server._listener._socket.fileno() == -1)
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


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_a_session_that_ends_while_another_thread_closes(transport: Any) -> None:
    """As the collector does, if it finds the channel in another thread."""
    server: Any = make_ipc_channel(transport=transport)
    assert not await server.connect(0)
    loop, listener = asyncio.get_running_loop(), server._listener
    fd = listener._socket.fileno()
    ended = threading.Event()

    def end_session(real: Callable[[], None] = listener.forget) -> None:
        real()
        loop.call_soon_threadsafe(listener.admit, loop)
        loop.call_soon_threadsafe(ended.set)
        assert ended.wait(PATIENCE)

    listener.forget = end_session
    await asyncio.to_thread(listener.close)
    await eventually(lambda: listener._socket.fileno() == -1)
    assert not loop.remove_reader(fd), "no dead entry is left"
    await server.close()


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
