"""Each operation cancelled after the n-th callback of the loop, for every n, whatever the peer does.

Afterwards nothing is left, nothing is torn or lost, and the next connect works.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import raw
from counting import LOOPS
from descriptors import open_descriptors
from ipc_channel import IPCChannelClient, IPCChannelError, make_ipc_channel_client
from raw import PATIENCE, frame

MESSAGE = b"m" * (8 * 2**20)  # more than any kernel takes
QUIET = 0.1  # seconds without a callback after which none comes
CASES = {
    f"{operation}-{peer}": (operation, peer)
    for operation in ("read", "write", "close", "disconnect")
    for peer in ("behaves", "is silent", "leaves")
}
Work = Callable[[], Coroutine[Any, Any, Any]]


async def after(count: int, work: Work) -> tuple[asyncio.Task[Any], bool]:
    """Run ``work``, cancelled after ``count`` callbacks, every second time twice.

    Return its task, which has ended, and whether more callbacks would have followed.
    """
    loop: Any = asyncio.get_running_loop()
    times = 1 + count % 2

    async def armed() -> Any:
        loop.cancel_after(count, asyncio.current_task(), times)
        return await work()

    task = loop.create_task(armed())
    await asyncio.wait({task}, timeout=QUIET)
    more = task.done() and loop.cancelled > 0
    if task.done() and loop.cancelled and times == 1:
        assert task.cancelled(), "the cancellation was swallowed"
    loop.disarm()
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    assert task.done()
    return task, more


def sweep(loop: str, once: Callable[[int], Coroutine[Any, Any, bool]]) -> int:
    """Run ``once(1)``, ``once(2)`` and so on until it returns False, and see what is left.

    Return how often it returned True.
    """
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(once(0))
        before = open_descriptors()
        count = 1
        while runner.run(once(count)):
            gc.collect()
            assert open_descriptors() == before
            count += 1
    return count - 1


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("case", CASES)
def test_cancelled_after_every_callback(
    transport: str, role: str, loop: str, case: str, tmp_path: Path
) -> None:
    operation, peer_kind = CASES[case]

    async def once(count: int) -> bool:
        directory = tmp_path / str(count)
        directory.mkdir()
        connecting = raw.connected(transport, role, directory, linger=0.01)
        async with connecting as (ours, peer), _output(ours, operation):
            if peer_kind == "behaves":
                peer.send(frame(b"first"))
            elif peer_kind == "leaves":
                peer.close()
            works: dict[str, Work] = {
                "read": ours.read,
                "write": lambda: ours.write(MESSAGE),
                "close": ours.close,
                "disconnect": ours.disconnect,
            }
            task, more = await after(count, works[operation])
            if operation == "read" and peer_kind == "behaves" and task.cancelled():
                assert await asyncio.wait_for(ours.read(), PATIENCE) == b"first"
            if operation == "write" and peer_kind == "behaves":
                await _check_written(ours, peer)
            with contextlib.suppress(IPCChannelError):
                task.cancelled() or task.result()
            await ours.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return more

    count = sweep(loop, once)
    assert count > 0 or operation == "read" or peer_kind == "leaves"


@contextlib.asynccontextmanager
async def _output(ours: IPCChannelClient, operation: str) -> AsyncIterator[None]:
    """Make a write wait with its message still queued when the channel is closed."""
    if operation not in ("close", "disconnect"):
        yield
        return
    writing = asyncio.create_task(ours.write(MESSAGE))
    await asyncio.sleep(0)
    yield
    await asyncio.wait({writing}, timeout=PATIENCE)
    assert isinstance(writing.exception(), IPCChannelError | None)


async def _check_written(ours: Any, peer: raw.Raw) -> None:
    """What is written next comes next, or behind the whole message that was cancelled."""
    receiving = asyncio.create_task(asyncio.to_thread(peer.recv_frame))
    await ours.write(b"last")
    got = await receiving
    if got != b"last":
        assert got == MESSAGE
        assert await asyncio.to_thread(peer.recv_frame) == b"last"


class Server:
    """A raw server in the client's loop, with an address known before it appears."""

    def __init__(self, transport: str, directory: Path) -> None:
        self._in_path, self._out_path = f"{directory}/in", f"{directory}/out"
        self._listener: socket.socket | None = None
        self._in = self._out = -1
        if transport == "tcp":
            self._listener = socket.socket()
            self._listener.bind(("127.0.0.1", 0))
            self._in_path = self._out_path = str(self._listener.getsockname()[1])

    def client(self) -> IPCChannelClient:
        return make_ipc_channel_client(self._out_path, self._in_path)

    def come(self) -> None:
        if self._listener is not None:
            self._listener.listen()
            return
        os.mkfifo(self._in_path)
        os.mkfifo(self._out_path)
        self._in = os.open(self._in_path, os.O_RDONLY | os.O_NONBLOCK)
        self._open_out()

    def _open_out(self) -> None:
        """Open what the client reads, as soon as it does."""
        try:
            self._out = os.open(self._out_path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            asyncio.get_running_loop().call_later(0.001, self._open_out)

    def others(self) -> set[str]:
        """Return what is open beside the server's own."""
        own = {f"{fd} " for fd in (self._in, self._out)}
        return {
            text for text in open_descriptors() if text[: text.index(" ") + 1] not in own
        }

    def meet(self) -> raw.Raw:
        """Return our end of the connection, the last one if there were several."""
        if self._listener is None:
            return raw.Raw(self._in, self._out)
        with self._listener as listener, contextlib.suppress(BlockingIOError):
            listener.setblocking(False)
            while True:
                last = listener.accept()[0]
        return raw.Raw(last.fileno(), last.fileno(), last)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("pause", [0, 0.004])
def test_a_clients_connect_cancelled_after_every_callback(
    transport: str, loop: str, pause: float, tmp_path: Path
) -> None:
    async def once(count: int) -> bool:
        directory = tmp_path / str(count)
        directory.mkdir()
        server = Server(transport, directory)
        client = server.client()
        if pause:
            asyncio.get_running_loop().call_later(pause, server.come)
        else:
            server.come()
        before = server.others()
        task, more = await after(count, lambda: client.connect(PATIENCE))
        if not client.connected:
            assert server.others() == before
        assert task.cancelled() or task.result()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await client.connect(PATIENCE)
        peer = server.meet()
        peer.send(frame(b"hello"))
        assert await client.read() == b"hello"
        await client.write(b"and you")
        assert peer.recv_frame() == b"and you"
        peer.close()
        await client.close()
        return more

    assert sweep(loop, once) > 0


async def test_a_servers_connect_cancelled_after_every_turn(transport: Any) -> None:
    """A peer that has come meanwhile is not lost: the next connect has it."""
    before = open_descriptors()
    for turns in range(30):
        server = raw.make("server", transport, Path())
        meeting = asyncio.create_task(
            asyncio.to_thread(raw.dial, server.out_path, server.in_path)  # type: ignore[attr-defined]  # a server
        )
        connecting = asyncio.create_task(server.connect(PATIENCE))
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(1 + turns % 2):
            connecting.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({connecting}, timeout=PATIENCE)
        assert await server.connect(PATIENCE)
        peer = await meeting
        peer.send(frame(b"hello"))
        assert await server.read() == b"hello"
        peer.close()
        await server.close()
    gc.collect()
    assert open_descriptors() == before
