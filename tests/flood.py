"""A flood of messages that is interrupted, and what must hold of it afterwards.

One end is a channel of ours over a bare connection, the other bare system calls that take
and give all they can.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import threading
from collections.abc import Coroutine
from typing import Any

import ipc_channel
from flood_checks import check_error, check_read, check_written
from ipc_channel import IPCChannelError
from ipc_channel.aio.session import Session
from ipc_channel.aio.stream import Stream
from ipc_channel.transports.pipe_stream import PipeStream
from ipc_channel.transports.socket_stream import SocketStream
from ipc_channel.transports.unix_stream import UnixStream
from raw import frame

SIZES = [8, 9, 5000, 10, 70_000, 11, 12, 8, 300]
PATIENCE = 10
_NOISE = random.Random(1).randbytes(2**20 + 1000)


def message(number: int, size: int) -> bytes:
    """Return a message whose bytes are those of no other, nor of itself shifted."""
    return number.to_bytes(4, "big") + _NOISE[number : number + size - 4]


MESSAGES = [message(number, size) for number, size in enumerate(SIZES)]


class Interrupt(KeyboardInterrupt):
    """What the signal handler of these tests raises."""


class Wire:
    """The peer: the far ends of a connection, read and written without blocking."""

    def __init__(self, transport: str) -> None:
        self.got = bytearray()
        self.to_send = bytearray()
        self.ended = False
        if transport == "tcp":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self._far = socket.create_connection(listener.getsockname())
                self._near = listener.accept()[0]
            self._fds = [self._far.detach()] * 2
        elif transport == "unix":
            self._near, self._far = socket.socketpair()
            self._fds = [self._far.detach()] * 2
        else:
            (self._near_in, far_out), (far_in, self._near_out) = os.pipe(), os.pipe()
            os.set_blocking(self._near_in, False)
            os.set_blocking(self._near_out, False)
            self._fds = [far_in, far_out]
        for fd in self._fds:
            os.set_blocking(fd, False)
        self.transport = transport

    def stream(self, loop: asyncio.AbstractEventLoop) -> Stream:
        if self.transport == "tcp":
            return SocketStream(loop, self._near)
        if self.transport == "unix":
            return UnixStream(loop, self._near)
        return PipeStream(loop, self._near_in, self._near_out, b"")

    def step(self) -> None:
        """Take what there is, and send what passes."""
        try:
            while not self.ended:
                data = os.read(self._fds[0], 2**16)
                self.got += data
                self.ended = not data
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = True
        try:
            while self.to_send:
                del self.to_send[: os.write(self._fds[1], self.to_send)]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.to_send.clear()

    async def serve(self) -> None:
        """Take and send until our end has ended, then leave."""
        while not self.ended:
            self.step()
            await asyncio.sleep(0)
        self.close()

    def close(self) -> None:
        for fd in set(self._fds):
            os.close(fd)
        self._fds = []


class ThreadedWire(Wire):
    """The same in two threads, in which no signal handler runs."""

    def __init__(self, transport: str) -> None:
        super().__init__(transport)
        for fd in self._fds:
            os.set_blocking(fd, True)
        self._threads = [
            threading.Thread(target=one, daemon=True) for one in (self._take, self._give)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    async def serve(self) -> None:
        while any(thread.is_alive() for thread in self._threads):
            await asyncio.sleep(0.001)
        self.close()

    def join(self) -> None:
        """Wait until our end has ended, and all is sent."""
        for thread in self._threads:
            thread.join()

    def _take(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := os.read(self._fds[0], 2**16):
                self.got += data
        self.ended = True

    def _give(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while self.to_send:
                del self.to_send[: os.write(self._fds[1], self.to_send[: 2**16])]


def connected(wire: Wire, loop: asyncio.AbstractEventLoop) -> Any:
    """Return a channel over a connection that needed no rendezvous."""
    transport = wire.transport
    if transport == "tcp":
        channel = ipc_channel.make_ipc_channel_client("1", "1")
    elif transport == "unix":
        channel = ipc_channel.make_ipc_channel_client("unix:/socket", "unix:/socket")
    else:
        channel = ipc_channel.make_ipc_channel_client("/in", "/out")

    async def begin() -> Session:
        return Session(
            wire.stream(loop),
            logger=logging.getLogger("ipc_channel"),
            name="test",
        )

    channel.session = loop.run_until_complete(begin())  # type: ignore[attr-defined]  # looks inside
    return channel


def run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Run ``work``; what was to stop the loop as an exception stopped it does not count."""
    task = loop.create_task(asyncio.wait_for(work, PATIENCE))
    task.add_done_callback(lambda _: loop.stop())
    while not task.done():
        loop.run_forever()
    return task.result()


class Flood:
    """Our end writes, reads, or both; the peer takes and gives all that it can."""

    def __init__(
        self,
        wire: Wire,
        kind: str,
        loop: asyncio.AbstractEventLoop,
        messages: list[bytes] = MESSAGES,
    ) -> None:
        self.wire = wire
        self.channel = connected(wire, loop)
        self.kind = kind
        self.messages = messages
        self.written: list[bool] = []  # whether the write of each message has returned
        self.read: list[bytes] = []
        self.tasks: list[asyncio.Task[None]] = []
        if kind != "write":
            self.wire.to_send += b"".join(map(frame, messages)) + bytes(4)

    def forget(self) -> None:
        """Free the memory of all messages, whatever cycle of references keeps the rest."""
        for data in (self.wire.got, self.wire.to_send, self.read, self.written):
            data.clear()
        self.messages = []

    async def write_all(self) -> None:
        for one in self.messages[len(self.written) :]:
            self.written.append(False)
            await self.channel.write(one)
            self.written[-1] = True

    async def read_all(self) -> None:
        while (one := await self.channel.read()) is not None:
            self.read.append(one)

    async def work(self) -> None:
        works = {"write": [self.write_all], "read": [self.read_all]}
        chosen = works.get(self.kind, [self.write_all, self.read_all])
        self.tasks = [asyncio.create_task(one()) for one in chosen]
        serving = asyncio.create_task(self.wire.serve())
        await asyncio.wait(self.tasks)
        if self.kind == "close":
            await self.channel.close()
        await asyncio.sleep(0)
        serving.cancel()

    def leave_off(self) -> None:
        """Only close: wait for no task."""
        self.kind = "close"
        self.tasks.clear()

    async def go_on(self) -> None:
        """Wait for what is pending, then write and read on, and close."""
        serving = asyncio.create_task(self.wire.serve())
        for task in self.tasks:
            await asyncio.wait({task})
            failure = task.exception()
            assert failure is None or isinstance(failure, IPCChannelError | Interrupt)
        if self.kind in ("write", "both"):
            await self.try_again(self.write_all())
        if self.kind in ("read", "both"):
            await self.try_again(self.read_all())
        await self.channel.close()
        await serving

    async def try_again(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except IPCChannelError:
            check_error(self.channel)

    def check(self, missing: int) -> None:
        if self.kind != "read":
            check_written(self)
        if self.kind != "write":
            check_read(self, missing)
        assert self.channel.session.closed
        assert self.wire.ended, "our end was not closed"
