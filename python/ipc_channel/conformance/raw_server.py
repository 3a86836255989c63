"""A server's rendezvous in plain system calls, which may misbehave as a case wants."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable

from ipc_channel.conformance.case import CaseFailedError, NotApplicableError, in_time
from ipc_channel.conformance.trace import Trace
from ipc_channel.conformance.wire import PAUSE, Wire


class RawServer(ABC):
    """A rendezvous made by hand."""

    testee_in: str
    testee_out: str

    def __init__(self, trace: Trace, patience: float) -> None:
        self._trace = trace
        self._patience = patience

    @abstractmethod
    def appear(self) -> None:
        """Make the server appear: until then the rendezvous has none."""

    @abstractmethod
    def renew(self) -> None:
        """Renew the rendezvous, as a server of this transport does after a session."""

    async def accept(self) -> Wire:
        """Wait until the testee has connected in both directions."""
        return await in_time(self._patience, self._accept(), "connected")

    @abstractmethod
    async def _accept(self) -> Wire: ...

    @abstractmethod
    async def is_visited(self) -> bool:
        """Whether the testee is connected, or has opened one of the pipes."""

    async def fill_queue(self) -> socket.socket:
        """Fill the kernel's queue, so that it has no room for the testee (Linux)."""
        raise NotApplicableError("this transport has no queue")

    @abstractmethod
    def close(self) -> None:
        """Free the rendezvous, except the directory, which belongs to the caller."""


class RawPipes(RawServer):
    """Two named pipes."""

    def __init__(self, directory: str, trace: Trace, patience: float) -> None:
        super().__init__(trace, patience)
        self.testee_in = os.path.join(directory, "to-testee")
        self.testee_out = os.path.join(directory, "from-testee")

    def appear(self) -> None:
        self.make_pipes()

    def renew(self) -> None:
        self.make_pipes()

    def make_pipes(self) -> None:
        """Create the two named pipes, in place of older ones."""
        for path in (self.testee_out, self.testee_in):  # in this order: RDV-27
            os.mkfifo(path + ".new", 0o600)
            os.rename(path + ".new", path)

    async def is_visited(self) -> bool:
        try:
            os.close(os.open(self.testee_in, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    async def _accept(self) -> Wire:
        try:
            in_fd = os.open(self.testee_out, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            raise CaseFailedError(
                "the named pipe that the testee writes to", "there", "removed by the testee"
            ) from None
        try:
            out_fd = await open_for_writing(self.testee_in)
        except BaseException:
            os.close(in_fd)
            raise
        self._trace.add("server  opened both named pipes")
        return Wire(in_fd, out_fd, None, self._trace, self._patience)

    def close(self) -> None:
        """Do nothing: the pipes go with their directory."""


class RawListener(RawServer):
    """A socket that listens on loopback TCP."""

    def __init__(self, directory: str, trace: Trace, patience: float) -> None:
        del directory  # a port needs none
        super().__init__(trace, patience)
        self._listener = self._bind()
        self._accepted: list[socket.socket] = []

    def _bind(self) -> socket.socket:
        listener = socket.socket()
        listener.setblocking(False)
        # Lets a case bind another socket to the port (RDV-44), but not another user's.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        self.testee_in = self.testee_out = str(listener.getsockname()[1])
        return listener

    def appear(self) -> None:
        self._listener.listen(16)

    def renew(self) -> None:
        """Keep listening: the next session uses the same port."""

    async def is_visited(self) -> bool:
        """Whether another connection waits to be accepted."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        sock.close()
        return True

    async def _accept(self) -> Wire:
        sock = await self._next()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._wire(sock)

    async def _next(self) -> socket.socket:
        """Accept a connection, which is closed with this server if the caller is cancelled.

        That of asyncio would be lost if it came just then.
        """
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                await asyncio.sleep(PAUSE)
            else:
                sock.setblocking(False)
                self._accepted.append(sock)
                return sock

    async def fill_queue(self) -> socket.socket:
        self._listener.listen(0)  # room for one, as Linux counts
        held = socket.socket()
        held.setblocking(False)
        address = self._listener.getsockname()
        await asyncio.get_running_loop().sock_connect(held, address)
        self._trace.add("server  has its queue full, and accepts nothing")
        return held

    def _wire(self, sock: socket.socket) -> Wire:
        self._trace.add("server  accepted a connection")
        return Wire(sock.fileno(), sock.fileno(), sock, self._trace, self._patience)

    def reset_visitor(self, data: bytes) -> bool:
        """Accept a waiting client, send it ``data`` and reset it; False if none waits."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        with sock:
            sock.send(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return True

    def close(self) -> None:
        for sock in (self._listener, *self._accepted):
            sock.close()


class RawUnixSocket(RawListener):
    """A Unix socket that listens."""

    def __init__(self, directory: str, trace: Trace, patience: float) -> None:
        self.path = os.path.join(directory, "socket")
        super().__init__(directory, trace, patience)

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.setblocking(False)
        listener.bind(self.path)
        self.testee_in = self.testee_out = f"unix:{self.path}"
        return listener

    async def _accept(self) -> Wire:
        return self._wire(await self._next())

    async def fill_queue(self) -> socket.socket:
        self._listener.listen(0)  # room for one, as Linux counts
        held = socket.socket(socket.AF_UNIX)
        held.connect(self.path)
        self._trace.add("server  has its queue full, and accepts nothing")
        return held


RAW_SERVERS: dict[str, Callable[[str, Trace, float], RawServer]] = {
    "named_pipe": RawPipes,
    "unix": RawUnixSocket,
    "tcp": RawListener,
}
"""The raw server of each transport; a newly registered transport adds its own."""


async def has_writer(fd: int) -> None:
    """Wait until a process has the named pipe that ``fd`` reads open for writing."""
    while True:
        try:
            os.read(fd, 1)
        except BlockingIOError:
            return
        await asyncio.sleep(PAUSE)


async def open_for_writing(path: str) -> int:
    """Open a named pipe for writing as soon as a process has it open for reading."""
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            await asyncio.sleep(PAUSE)
