"""The other end of a channel in plain system calls, which may misbehave at will.

The library is tested against this, so that it never only agrees with itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Unpack

from ipc_channel import (
    IPCChannel,
    IPCChannelClient,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.conformance.raw_peer import CLOSE, RawPeer, frame
from ipc_channel.options import Options

__all__ = ["CLOSE", "frame"]  # beside what is made here

TRANSPORTS = ("tcp",) if sys.platform == "win32" else ("named_pipe", "unix", "tcp")
ROLES = ("server", "client")
PATIENCE = float(os.environ.get("PATIENCE", "60"))
"""Seconds after which something that should happen is taken not to."""


def _write(fd: int, data: bytes | memoryview) -> int:
    """Write without SIGPIPE, which ends a test run that has it at its default."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        return os.write(fd, data)
    except BrokenPipeError:
        signal.sigtimedwait({signal.SIGPIPE}, 0)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Raw(RawPeer):
    """A raw peer with blocking calls."""

    def __init__(self, in_fd: int, out_fd: int, sock: socket.socket | None = None) -> None:
        if sock is not None:
            # Or else the system lets it grow with what is read, to 32 MiB and more, and
            # nothing that a test sends is too much.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
            if sys.platform == "win32":  # as connect_to, after an accept
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(in_fd, out_fd, sock)
        self._set_blocking(True)

    def send(self, data: bytes) -> None:
        """Write all of ``data``, blocking."""
        view = memoryview(data)
        while view:
            view = view[self._write(view) :]

    def fill(self) -> int:
        """Write NUL bytes until nothing more fits; return how many did."""
        self._set_blocking(False)
        total = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                total += self._write(bytes(65536))
        self._set_blocking(True)
        return total

    def can_read(self) -> bool:
        """Whether something comes within 10 ms, or has ended."""
        return bool(select.select([self.in_fd], [], [], 0.01)[0])

    def recv(self, size: int) -> bytes:
        """Read exactly ``size`` bytes, or fewer if the stream ends."""
        data = bytearray()  # bytes would be copied with each page of a small pipe
        while len(data) < size:
            ready, _, _ = select.select([self.in_fd], [], [], PATIENCE)
            assert ready, f"nothing came in {PATIENCE} s"
            chunk = self._read(min(size - len(data), 1 << 20))
            if not chunk:
                break
            data += chunk
        return bytes(data)

    def recv_frame(self) -> bytes | None:
        """Read one frame; b"" is a close frame, None the end of the stream."""
        header = self.recv(4)
        if not header:
            return None
        assert len(header) == 4, f"stream ended inside a header: {header!r}"
        size = int.from_bytes(header, "big")
        payload = self.recv(size)
        assert len(payload) == size, f"stream ended inside a payload of {size} bytes"
        return payload

    def recv_all(self) -> list[bytes]:
        """Read frames until the close frame, which there must be, and the end."""
        frames = []
        while payload := self.recv_frame():
            frames.append(payload)
        assert payload is not None, "no close frame came"
        return frames

    def is_ended(self) -> bool:
        """Wait for the end of the stream; False if bytes come instead."""
        try:
            return self.recv(1) == b""
        except ConnectionResetError:
            return True

    def _set_blocking(self, blocking: bool) -> None:
        if self.sock is not None:
            self.sock.setblocking(blocking)
        else:
            os.set_blocking(self.in_fd, blocking)
            os.set_blocking(self.out_fd, blocking)

    def _read(self, size: int) -> bytes:
        return os.read(self.in_fd, size) if self.sock is None else self.sock.recv(size)

    def _write(self, data: bytes | memoryview) -> int:
        if self.sock is not None:
            return self.sock.send(data, getattr(socket, "MSG_NOSIGNAL", 0))
        return _write(self.out_fd, data)


def is_pipe(path: str) -> bool:
    return path.startswith("/")


def is_unix(path: str) -> bool:
    return path.startswith("unix:")


def dial(in_path: str, out_path: str, order: str = "rw") -> Raw:
    """Connect as a raw client, opening pipes in ``order``, blocking."""
    if is_unix(in_path):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(in_path.removeprefix("unix:"))
        return Raw(sock.fileno(), sock.fileno(), sock)
    if not is_pipe(in_path):
        host, _, port = in_path.rpartition(":")
        sock = connect_to((host or "127.0.0.1", int(port)))
        return Raw(sock.fileno(), sock.fileno(), sock)
    fds = {}
    for direction in order:
        if direction == "r":
            fds["r"] = os.open(in_path, os.O_RDONLY)
        else:
            fds["w"] = os.open(out_path, os.O_WRONLY)
    return Raw(fds["r"], fds["w"])


def connect_to(address: tuple[str, int]) -> socket.socket:
    """Return a connected socket, which was used so that Wine knows its process."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def open_nonblocking(path: str, mode: int) -> int:
    """Open a pipe without blocking, as soon as that is possible."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(path, mode | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.001)


def dial_nonblocking(in_path: str, out_path: str, order: str = "rw") -> Raw:
    """Connect as a raw client that opens pipes in ``order``, not blocking in open."""
    fds = {}
    for direction in order:
        path, mode = (in_path, os.O_RDONLY) if direction == "r" else (out_path, os.O_WRONLY)
        fds[direction] = open_nonblocking(path, mode)
    return Raw(fds["r"], fds["w"])


class Rendezvous:
    """A raw server's rendezvous: two pipes or a socket in ``directory``, or a port."""

    def __init__(self, transport: str, directory: Path) -> None:
        self.listener: socket.socket | None = None
        self._place: Path | None = None
        if transport == "tcp":
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.in_path = self.out_path = str(self.listener.getsockname()[1])
        elif transport == "unix":
            self._place = Path(tempfile.mkdtemp(dir="/tmp"))  # short enough for a name
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(self._place / "socket"))
            self.listener.listen()
            self.in_path = self.out_path = f"unix:{self._place / 'socket'}"
        else:
            self.in_path, self.out_path = str(directory / "in"), str(directory / "out")
            os.mkfifo(self.in_path)
            os.mkfifo(self.out_path)

    def accept(self) -> Raw:
        """Wait for the client."""
        if self.listener is None:
            fd = os.open(self.in_path, os.O_RDONLY | os.O_NONBLOCK)
            return Raw(fd, open_nonblocking(self.out_path, os.O_WRONLY))
        sock, _ = self.listener.accept()
        return Raw(sock.fileno(), sock.fileno(), sock)

    def close(self) -> None:
        if self.listener is not None:
            self.listener.close()
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)


@contextlib.asynccontextmanager
async def connected(
    transport: str, role: str, directory: Path, **options: Unpack[Options]
) -> AsyncIterator[tuple[IPCChannelClient, Raw]]:
    """Give our channel in ``role``, connected, and the raw other end."""
    ours: IPCChannelClient
    if role == "server":
        server = make_ipc_channel(transport=transport, **options)  # type: ignore[arg-type]  # a parameter is a plain str
        ours, cleanup = server, _nothing
        meeting = asyncio.to_thread(dial, server.out_path, server.in_path)
    else:
        rendezvous = Rendezvous(transport, directory)
        cleanup = rendezvous.close
        ours = make_ipc_channel_client(rendezvous.out_path, rendezvous.in_path, **options)
        meeting = asyncio.to_thread(rendezvous.accept)
    try:
        raw, came = await asyncio.gather(meeting, ours.connect(PATIENCE))
        try:
            assert came
            yield ours, raw
        finally:
            raw.close()
    finally:
        await ours.close()
        cleanup()


def _nothing() -> None:
    pass


async def meet(server: IPCChannel) -> Raw:
    """Connect a raw client to ``server``."""
    meeting = asyncio.to_thread(dial, server.out_path, server.in_path)
    raw, came = await asyncio.gather(meeting, server.connect(PATIENCE))
    assert came
    return raw


def make(role: str, transport: Any, directory: Path, **options: Any) -> IPCChannelClient:
    """Make a channel to which no peer will connect."""
    if role == "server":
        return make_ipc_channel(transport=transport, **options)
    if transport == "tcp":
        return make_ipc_channel_client("1", "1", **options)  # no process listens on port 1
    if transport == "unix":
        path = f"unix:/tmp/{directory.name[-40:]}/none"  # short enough, and not there
        return make_ipc_channel_client(path, path, **options)
    return make_ipc_channel_client(f"{directory}/in", f"{directory}/out", **options)


def free_port() -> int:
    """Return a free port that no process gets by chance: not an ephemeral one."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(10_000, 30_000)))
            return int(probe.getsockname()[1])


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; a failure to do so in PATIENCE is one of the test."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.001)
