"""A rendezvous in plain system calls, at which a server may misbehave as a case wants."""

from __future__ import annotations

import asyncio
import os
import socket

from ipc_channel.conformance.case import CaseFailedError, in_time
from ipc_channel.conformance.trace import Trace
from ipc_channel.conformance.wire import PAUSE, Wire


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
        await asyncio.sleep(PAUSE)


async def open_for_writing(path: str) -> int:
    """Open a named pipe as soon as somebody reads it."""
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            await asyncio.sleep(PAUSE)
