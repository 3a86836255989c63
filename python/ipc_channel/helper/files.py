"""Files that take the output of a helper, written to without waiting for their readers."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import select
import sys
from collections.abc import Callable
from typing import Any

from ipc_channel import fork

_AT_ONCE = 4096  # bytes: what a pipe that has room takes without blocking (PIPE_BUF)
_STREAMS = (1, 2)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class File:
    """Writes to an open file without ever blocking in it."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def write(self, data: bytes) -> bytes:
        """Take ``data``; return what there is no room for."""
        rest = memoryview(data)
        try:
            while rest and self._has_room():
                rest = rest[os.write(self._file.fileno(), rest[:_AT_ONCE]) :]
        except BlockingIOError:
            pass
        except (OSError, ValueError):  # its reader has gone, the disk is full; or closed
            return b""
        return bytes(rest)

    def _has_room(self) -> bool:
        if sys.platform == "win32":
            return True
        poller = select.poll()
        poller.register(self._file, select.POLLOUT)
        return bool(poller.poll(0))

    def close(self) -> None:
        with fork.lock, contextlib.suppress(OSError):
            self._file.close()


class Nothing:
    """Takes everything, and drops it; only the last lines are kept."""

    def write(self, data: bytes) -> bytes:  # noqa: ARG002  # of Sink
        return b""

    def close(self) -> None: ...


def path_sink(path: os.PathLike[str]) -> File:
    """Return what appends to a file; raise OSError if it cannot be opened.

    That does not wait for the reader of a named pipe, which has to be there.
    """

    def open_it(name: Any, flags: int) -> int:
        return os.open(name, flags | _NO_WAIT, 0o666)

    return _held(lambda: io.FileIO(os.fspath(path), "ab", opener=open_it))


def file_sink(fd: int) -> File | Ours:
    """Return what writes to an open file, even after its user has closed it."""
    if fd in _STREAMS:
        return Ours(fd)
    copy = functools.partial(io.FileIO, "copy", "wb", opener=lambda *_: os.dup(fd))
    return _terminal(fd) or _held(copy)


class Ours:
    """Writes to our standard output or standard error, whatever is there at that moment.

    Drops everything while the stream is closed, or another file has got its number.
    """

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._seen: tuple[int, ...] | None = None
        self._sink: File | Nothing = Nothing()

    def write(self, data: bytes) -> bytes:
        """Take ``data``; return what there is no room for."""
        if (seen := self._identity()) != self._seen:
            self._sink.close()
            self._sink = Nothing() if seen is None else self._open()
            self._seen = seen
        return self._sink.write(data)

    def _identity(self) -> tuple[int, ...] | None:
        try:
            found = os.fstat(self._stream) if os.get_inheritable(self._stream) else None
        except OSError:
            return None
        return found and (found.st_dev, found.st_ino, getattr(found, "st_rdev", 0))

    def _open(self) -> File:
        # No copy: whoever reads what the service writes would wait for its end.
        return _terminal(self._stream) or File(io.FileIO(self._stream, "wb", closefd=False))

    def close(self) -> None:
        self._sink.close()


def _terminal(fd: int) -> File | None:
    """Return what writes to the terminal ``fd``; None if it is none, or cannot be opened.

    ``poll`` tells of room in a terminal even if there is too little. So it takes a flag not
    to wait, which the other holders of ``fd`` would not expect on theirs.
    """
    if not hasattr(os, "ttyname"):
        return None
    try:
        name = os.ttyname(fd)
        return _held(lambda: io.FileIO(name, "wb", opener=_open_terminal))
    except OSError:
        return None


def _open_terminal(name: Any, _flags: int) -> int:
    return os.open(name, os.O_WRONLY | _NO_WAIT)


def _held(open_it: Callable[[], io.FileIO]) -> File:
    """Return a file that forked children close."""
    with fork.lock:
        file = open_it()
        fork.in_child(file, io.FileIO.close)
        return File(file)
