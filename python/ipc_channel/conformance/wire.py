"""The server's end in plain system calls, which may misbehave as a case wants.

Nothing here is shared with the channel of this package, so that a testee is
not measured by the same mistakes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ipc_channel.conformance.case import CaseFailedError, in_time
from ipc_channel.conformance.trace import FrameLog, Trace

_T = TypeVar("_T")
CLOSE = bytes(4)
_CHUNK = 2**18
_PAUSE = 0.002  # seconds between two looks at a named pipe


def frame(payload: bytes) -> bytes:
    """Return the frame of a message."""
    return struct.pack(">I", len(payload)) + payload


class Wire:
    """A connection to the testee, seen from the server."""

    def __init__(
        self,
        in_fd: int,
        out_fd: int,
        sock: socket.socket | None,
        trace: Trace,
        patience: float,
    ) -> None:
        self.in_fd = in_fd
        self.out_fd = out_fd
        self.sock = sock
        self.patience = patience
        self._sent = FrameLog(trace, "server →")
        self._got = FrameLog(trace, "server ←")
        self._heard = False  # a byte has come, so that an end is the testee's
        self._deliveries: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()
        for fd in {in_fd, out_fd}:
            os.set_blocking(fd, False)

    async def send(self, data: bytes, piece: int = _CHUNK) -> None:
        """Write everything, at most ``piece`` bytes at a time."""
        await self._in_time(self._send(data, piece), f"took {len(data)} bytes")

    def deliver(
        self, data: bytes, piece: int = _CHUNK, *, then_close: bool = False
    ) -> None:
        """Send in the background, so that the testee may be told to read meanwhile."""

        async def send() -> None:
            with contextlib.suppress(OSError):  # what the testee says of it is looked at
                await self._send(data, piece)
            if then_close:
                self.close()

        self._deliveries.append(asyncio.create_task(send()))

    def flood(self, data: bytes) -> None:
        """Send ``data`` over and over in the background, until the testee takes no more."""

        async def send() -> None:
            with contextlib.suppress(OSError):
                while True:
                    await self._send(data, _CHUNK)
                    await asyncio.sleep(0)

        self._deliveries.append(asyncio.create_task(send()))

    async def send_until_stuck(self, data: bytes, silence: float) -> int:
        """Write until nothing has fitted for ``silence`` seconds; return how much did."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._write(view[:_CHUNK]) :]
            except BlockingIOError:
                try:
                    async with asyncio.timeout(silence):
                        await self._ready(self._loop.add_writer, self._loop.remove_writer)
                except TimeoutError:
                    break
        return len(data) - len(view)

    async def receive(self, size: int) -> bytes:
        """Read exactly ``size`` bytes, or fewer if the stream ends."""
        data = bytearray()
        await self._receive_into(data, size)
        return bytes(data)

    async def receive_until_end(self, size: int) -> bytes:
        """Read up to ``size`` bytes; here a reset is an end as well."""
        data = bytearray()
        with contextlib.suppress(ConnectionResetError):
            await self._receive_into(data, size)
        return bytes(data)

    async def receive_frame(self) -> bytes | None:
        """Read a frame; b"" is a close frame, None the end of the stream."""
        header = await self.receive(4)
        if not header:
            return None
        if len(header) < 4:
            raise CaseFailedError(
                "the testee ended its stream inside a header", "4 bytes", header.hex(" ")
            )
        size = int.from_bytes(header, "big")
        payload = await self.receive(size)
        if len(payload) < size:
            raise CaseFailedError(
                "the testee ended its stream inside a frame",
                f"{size} bytes of payload",
                len(payload),
            )
        return payload

    async def expect_message(self, expected: bytes) -> None:
        """Read a frame, which has to hold ``expected``."""
        got = await self.receive_frame()
        if got != expected:
            raise CaseFailedError(
                "the testee sent another frame",
                _describe(expected),
                _describe(got) + _first_difference(expected, got),
            )

    async def expect_close(self) -> None:
        """Read the close frame and the end of the stream."""
        got = await self.receive_frame()
        if got != b"":
            raise CaseFailedError("no close frame came", "close frame", _describe(got))
        await self.expect_end()

    async def expect_end(self) -> None:
        """Read the end of the stream; a reset is none."""
        try:
            rest = await self._in_time(self._read(1), "ended its stream")
        except ConnectionResetError:
            raise CaseFailedError(
                "the testee ended its stream", "an end", "a reset"
            ) from None
        if rest:
            raise CaseFailedError("the testee went on to send", "an end", rest.hex())

    def end_writing(self) -> None:
        """End this direction only."""
        self._sent.end("end of stream")
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_WR)
        else:
            os.close(self.out_fd)
            self.out_fd = -1

    def stop_reading(self) -> None:
        """Close the reading end only (named pipes)."""
        if self.sock is not None:
            raise ValueError("a socket has no reading end of its own")
        os.close(self.in_fd)
        self.in_fd = -1

    def reset(self) -> None:
        """Close with a reset (TCP)."""
        if self.sock is None:
            raise ValueError("a named pipe cannot be reset")
        self._sent.end("reset")
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def close(self) -> None:
        """Close both directions; the second time nothing happens."""
        if {self.in_fd, self.out_fd} != {-1}:
            self._sent.end("closed")
            self._close()

    def _close(self) -> None:
        for delivery in self._deliveries:
            if delivery is not asyncio.current_task():
                delivery.cancel()
        if self.sock is not None:
            self.sock.close()
        else:
            for fd in {self.in_fd, self.out_fd} - {-1}:
                os.close(fd)
        self.in_fd = self.out_fd = -1

    async def _in_time(self, awaitable: Awaitable[_T], what: str) -> _T:
        return await in_time(self.patience, awaitable, what)

    async def _receive_into(self, data: bytearray, size: int) -> None:
        while len(data) < size:
            left = size - len(data)
            chunk = await self._in_time(self._read(min(left, _CHUNK)), f"sent {left} bytes")
            if not chunk:
                return
            data += chunk

    async def _send(self, data: bytes, piece: int) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._write(view[:piece]) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            else:
                if piece < _CHUNK:
                    await asyncio.sleep(0)

    def _write(self, data: memoryview) -> int:
        count = os.write(self.out_fd, data)
        self._sent.add(bytes(data[:count]))
        return count

    async def _read(self, size: int) -> bytes:
        while True:
            gone = self.sock is not None or self._heard or self._nobody_reads()
            try:
                data = os.read(self.in_fd, size)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
                continue
            if data or gone:
                self._heard = True
                if data:
                    self._got.add(data)
                else:
                    self._got.end("end of stream")
                return data
            await asyncio.sleep(_PAUSE)  # nobody writes yet, or somebody passed by

    def _nobody_reads(self) -> bool:
        """Whether the testee's reading end of a named pipe is closed (RDV-26)."""
        if self.out_fd < 0:
            return True
        poller = select.poll()
        poller.register(self.out_fd, 0)
        return any(events & select.POLLERR for _, events in poller.poll(0))

    async def _ready(
        self, watch: Callable[..., Any], unwatch: Callable[[int], Any]
    ) -> None:
        fd = self.in_fd if watch == self._loop.add_reader else self.out_fd
        ready = self._loop.create_future()

        def tell() -> None:
            if not ready.done():
                ready.set_result(None)

        watch(fd, tell)
        try:
            await ready
        finally:
            unwatch(fd)


class RawServer:
    """A rendezvous made by hand: two named pipes, or a listening socket."""

    def __init__(
        self, transport: str, directory: str, trace: Trace, patience: float
    ) -> None:
        self.transport = transport
        self._trace = trace
        self._patience = patience
        self._listener: socket.socket | None = None
        if transport == "tcp":
            self._listener = socket.socket()
            self._listener.setblocking(False)
            # So that a case may bind another socket to the port (RDV-44), not a stranger's.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._listener.bind(("127.0.0.1", 0))
            self.testee_in = self.testee_out = str(self._listener.getsockname()[1])
        else:
            self.testee_in = os.path.join(directory, "to-testee")
            self.testee_out = os.path.join(directory, "from-testee")

    def appear(self) -> None:
        """Make the pipes, or listen: until then nobody is there."""
        if self._listener is not None:
            self._listener.listen(16)
        else:
            self.make_pipes()

    def make_pipes(self) -> None:
        """Create the two named pipes, in the place of others."""
        for path in (self.testee_out, self.testee_in):  # in this order: RDV-27
            os.mkfifo(path + ".new", 0o600)
            os.rename(path + ".new", path)

    async def accept(self) -> Wire:
        """Wait for the testee, until both directions stand."""
        return await in_time(self._patience, self._accept(), "connected")

    async def _accept(self) -> Wire:
        if self._listener is None:
            return await self._open_pipes()
        sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._trace.add("server  accepted a connection")
        return Wire(sock.fileno(), sock.fileno(), sock, self._trace, self._patience)

    async def has_another(self) -> bool:
        """Whether one more connection waits to be accepted (TCP)."""
        if self._listener is None:
            raise ValueError("a named pipe has no queue of connections")
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        sock.close()
        return True

    async def is_visited(self) -> bool:
        """Whether somebody has connected, or reads the pipe to the testee."""
        if self._listener is not None:
            return await self.has_another()
        try:
            os.close(os.open(self.testee_in, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    async def _open_pipes(self) -> Wire:
        in_fd = os.open(self.testee_out, os.O_RDONLY | os.O_NONBLOCK)
        try:
            out_fd = await open_for_writing(self.testee_in)
        except BaseException:
            os.close(in_fd)
            raise
        self._trace.add("server  opened both named pipes")
        return Wire(in_fd, out_fd, None, self._trace, self._patience)

    def close(self) -> None:
        """Give up the rendezvous; the directory is the caller's."""
        if self._listener is not None:
            self._listener.close()


async def has_writer(fd: int) -> None:
    """Wait until somebody holds the writing end of a named pipe that is read by ``fd``."""
    while True:
        try:
            os.read(fd, 1)
        except BlockingIOError:
            return
        await asyncio.sleep(_PAUSE)


async def open_for_writing(path: str) -> int:
    """Open a named pipe as soon as somebody reads it."""
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            await asyncio.sleep(_PAUSE)


def _first_difference(expected: bytes, got: bytes | None) -> str:
    """Say where two long payloads differ whose beginnings look the same."""
    for start, (one, other) in enumerate(zip(expected, got or b"", strict=False)):
        if one != other:
            there = (got or b"")[start : start + 8].hex(" ")
            return f"; from byte {start} on {there}, not {expected[start : start + 8].hex(' ')}"
    return ""


def _describe(payload: bytes | None) -> str:
    if payload is None:
        return "the end of the stream"
    if not payload:
        return "a close frame"
    return f"{len(payload)} bytes, {payload[:16].hex(' ')}{' …' if payload[16:] else ''}"
