"""The server's end in an event loop, which may misbehave as a case wants."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
from collections.abc import Callable
from typing import Any

with contextlib.suppress(ImportError):  # Windows, which has no POSIX named pipes
    import fcntl
    import termios

from ipc_channel.conformance.case import CaseFailedError, in_time
from ipc_channel.conformance.raw_peer import RawPeer
from ipc_channel.conformance.trace import FrameLog, Trace, describe_frame, first_difference

_CHUNK = 2**18
PAUSE = 0.002  # seconds between checks of a named pipe


class Wire(RawPeer):
    """A connection to the testee, seen from the server."""

    def __init__(
        self,
        in_fd: int,
        out_fd: int,
        sock: socket.socket | None,
        trace: Trace,
        patience: float,
    ) -> None:
        super().__init__(in_fd, out_fd, sock)
        self.patience = patience
        self._sent = FrameLog(trace, "server →")
        self._got = FrameLog(trace, "server ←")
        self._heard = False  # first byte seen, so that an end comes from the testee
        self._deliveries: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()
        for fd in {in_fd, out_fd}:
            os.set_blocking(fd, False)

    async def send(self, data: bytes, piece: int = _CHUNK) -> None:
        """Write everything, at most ``piece`` bytes at a time."""
        before = self._sent.count

        def seen() -> str:
            return f"it has taken {self._sent.count - before} of them"

        sending = self._send(data, piece)
        await in_time(self.patience, sending, f"taken {len(data)} bytes", seen)

    def deliver(
        self, data: bytes, piece: int = _CHUNK, *, then_close: bool = False
    ) -> None:
        """Send in the background, so that the case can make the testee read meanwhile."""

        async def send() -> None:
            with contextlib.suppress(OSError):  # the case checks what the testee reports
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
        """Write until the pipe is full for ``silence`` seconds; return the byte count."""
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

    def capacity(self) -> int:
        """Return how many bytes fit into the pipe from the testee."""
        return fcntl.fcntl(self.in_fd, fcntl.F_GETPIPE_SZ)

    async def holds(self, size: int) -> None:
        """Wait until ``size`` bytes are in the pipe from the testee."""
        waiting = bytearray(4)
        while int.from_bytes(waiting, sys.byteorder) < size:
            await asyncio.sleep(PAUSE)
            fcntl.ioctl(self.in_fd, termios.FIONREAD, waiting)

    async def receive(self, size: int) -> bytes:
        """Read exactly ``size`` bytes, or fewer if the stream ends."""
        data = bytearray()
        await self._receive_into(data, size)
        return bytes(data)

    async def receive_until_end(self, size: int) -> bytes:
        """Read up to ``size`` bytes; a reset counts as an end here."""
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
        """Read a frame, and fail unless it holds ``expected``."""
        got = await self.receive_frame()
        if got != expected:
            raise CaseFailedError(
                "the testee sent another frame",
                describe_frame(expected),
                describe_frame(got) + first_difference(expected, got),
            )

    async def expect_close(self) -> None:
        """Read the close frame and the end of the stream."""
        got = await self.receive_frame()
        if got != b"":
            raise CaseFailedError("no close frame came", "close frame", describe_frame(got))
        await self.expect_end()

    async def expect_end(self) -> None:
        """Read the end of the stream; fail on a reset.

        But over a Unix socket a reset is an end of a testee that had unread input.
        """
        try:
            rest = await in_time(self.patience, self._read(1), "ended its stream")
        except ConnectionResetError:
            if self.sock is not None and self.sock.family == socket.AF_UNIX:
                return
            raise CaseFailedError(
                "the testee ended its stream", "an end", "a reset"
            ) from None
        if rest:
            raise CaseFailedError("the testee sent more bytes", "an end", rest.hex())

    def end_writing(self) -> None:
        self._sent.end("end of stream")
        super().end_writing()

    def reset(self) -> None:
        self._sent.end("reset")
        super().reset()

    def close(self) -> None:
        if {self.in_fd, self.out_fd} != {-1}:
            self._sent.end("closed")
            super().close()

    def _close(self) -> None:
        for delivery in self._deliveries:
            if delivery is not asyncio.current_task():
                delivery.cancel()
        super()._close()

    def _close_descriptor(self, fd: int) -> None:
        """Stop watching a descriptor and close it: another case may get its number."""
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        super()._close_descriptor(fd)

    async def _receive_into(self, data: bytearray, size: int) -> None:
        def seen() -> str:
            return f"it has sent {len(data)} of them"

        while len(data) < size:
            left = size - len(data)
            reading = self._read(min(left, _CHUNK))
            chunk = await in_time(self.patience, reading, f"sent {size} bytes", seen)
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
            gone = self.sock is not None or self._heard or self._reader_is_gone()
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
            await asyncio.sleep(PAUSE)  # no writer yet, or a stray opener has left

    def _reader_is_gone(self) -> bool:
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
            if fd in (self.in_fd, self.out_fd):  # or else the number was reused
                unwatch(fd)
