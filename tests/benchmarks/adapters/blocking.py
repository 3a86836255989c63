"""The limit: frames over blocking reads and writes, as a plain program does them.

Each frame is one system call to write. Small frames are read in chunks, as many
as there are, and taken apart; a large payload goes straight to its place, which
is used again for the next.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
from collections.abc import Callable

from benchmarks.async_end import Address

_CHUNK = 68 * 2**10  # bytes of one read; a larger payload is read to its place
_JOIN = 4096  # a payload up to this size is joined with its length
_CAPACITY = 2**20  # bytes of a pipe
_HEADER = 4


class Framed:
    """Messages over two file descriptors."""

    def __init__(self, in_fd: int, out_fd: int) -> None:
        self._in = in_fd
        self._out = out_fd
        self._buffer = b""
        self._start = 0  # of what is read and not taken in the buffer
        # At the start of a page: see message.h.
        self._large = memoryview(b"")

    def write(self, data: bytes) -> None:
        header = len(data).to_bytes(_HEADER, "big")
        if len(data) <= _JOIN:
            count = os.write(self._out, header + data)
        else:
            count = os.writev(self._out, (header, data))
        if count != _HEADER + len(data):
            self._write_rest(memoryview(header + data)[count:])

    def _write_rest(self, rest: memoryview) -> None:
        while rest:
            rest = rest[os.write(self._out, rest) :]

    def read(self) -> bytes:
        if len(self._buffer) - self._start < _HEADER:
            self._fill(_HEADER)
        start = self._start + _HEADER
        size = int.from_bytes(self._buffer[self._start : start], "big")
        if len(self._buffer) - start < size:
            if size >= _CHUNK:
                return self._read_large(size, self._buffer[start:])
            self._fill(_HEADER + size)
            start = _HEADER
        self._start = start + size
        return self._buffer[start : self._start]

    def _fill(self, wanted: int) -> None:
        buffer = self._buffer[self._start :]
        while len(buffer) < wanted:
            buffer += self._more()
        self._buffer, self._start = buffer, 0

    def _read_large(self, size: int, beginning: bytes) -> bytes:
        if len(self._large) < size:
            self._large = memoryview(mmap.mmap(-1, size))
        message = self._large[:size]
        got = len(beginning)
        message[:got] = beginning
        while got < size:
            count = os.readv(self._in, (message[got:],))
            if not count:
                raise EOFError("the other end has gone")
            got += count
        self._buffer, self._start = b"", 0
        return message  # type: ignore[return-value]  # as good as bytes, here

    def _more(self) -> bytes:
        data = os.read(self._in, _CHUNK)
        if not data:
            raise EOFError("the other end has gone")
        return data

    def close(self) -> None:
        os.close(self._in)
        if self._out != self._in:
            os.close(self._out)


def listen(
    transport: str, directory: str, kind: type[Framed] = Framed
) -> tuple[Address, Callable[[], Framed]]:
    if transport == "named_pipe":
        return _listen_pipe(directory, kind)
    if transport == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address := f"{directory}/socket")
    else:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        address = str(listener.getsockname()[1])
    listener.listen(1)
    return (address, address), lambda: _framed(listener.accept()[0], kind)


def dial(transport: str, address: Address, kind: type[Framed] = Framed) -> Framed:
    if transport == "named_pipe":
        return kind(_open(address[0], os.O_RDONLY), _open(address[1], os.O_WRONLY))
    if transport == "tcp":
        return _framed(socket.create_connection(("127.0.0.1", int(address[0]))), kind)
    client = socket.socket(socket.AF_UNIX)
    client.connect(address[0])
    return _framed(client, kind)


def _listen_pipe(
    directory: str, kind: type[Framed]
) -> tuple[Address, Callable[[], Framed]]:
    theirs, ours = f"{directory}/to_peer", f"{directory}/to_driver"
    os.mkfifo(theirs)
    os.mkfifo(ours)

    def accept() -> Framed:
        out_fd = _open(theirs, os.O_WRONLY)  # the peer opens in the same order
        return kind(_open(ours, os.O_RDONLY), out_fd)

    return (theirs, ours), accept


def _open(path: str, mode: int) -> int:
    fd = os.open(path, mode)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _CAPACITY)
    return fd


def _framed(connection: socket.socket, kind: type[Framed]) -> Framed:
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fd = connection.detach()
    return kind(fd, fd)
