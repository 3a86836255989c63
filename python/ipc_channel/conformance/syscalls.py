"""Stops a testee at chosen system calls, to see them or to act between two of them (Linux).

A filter of the kernel (seccomp) tells of each call before it happens, and waits
for leave. That makes certain what would otherwise take luck: a server that
comes and goes between two looks of the testee, or a socket that meets itself.
What a client does to connect is stopped: looking at paths, opening without blocking,
connecting, and options of TCP; and on demand, what it asks a socket, reads and writes.
The suite can also make a call fail, as the kernel rarely does.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import ctypes
import errno
import os
import platform
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

with contextlib.suppress(ImportError):  # Windows, which has no seccomp
    import fcntl

from ipc_channel.conformance import syscall_filter
from ipc_channel.conformance.syscall_filter import MACHINES, Kind, checked

__all__ = ["Call", "Kind", "UnsupportedError", "Watch", "behind", "socket_of"]

_CONNECTING: tuple[Kind, ...] = ("look", "open", "connect", "no_delay")

_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_LONGEST = 4096  # bytes of a path
_EVENT = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")


class UnsupportedError(Exception):
    """This system does not support this way of watching a process."""


@dataclass(frozen=True)
class Call:
    """A system call that is about to happen."""

    kind: Kind
    path: str
    """The path that it names; of a read or a write, and of a connect to a descriptor in
    /proc, the path that was opened."""
    at: float
    """When the kernel reported it, in terms of ``time.monotonic``."""
    thread: int
    descriptor: int
    """The first argument, if that is a descriptor."""
    value: int
    """The value that an option is set to."""


_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Watch:
    """The suite's side: collects calls, and can act before a call continues."""

    def __init__(self, *more: Kind) -> None:
        """Watch the calls by which a client connects, and ``more`` kinds of calls."""
        self._kinds = (*_CONNECTING, *more)
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._listener = -1
        self.calls: list[Call] = []
        self.before: Callable[[Call], int | None] = _ignore
        """Called before each stopped call; the testee waits meanwhile.

        If it returns a number, the call returns that and is not executed. A negative
        number is that of the error with which the call fails.
        """
        self.failure: OSError | None = None

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that starts ``command`` with its calls reported."""
        return [
            sys.executable,
            syscall_filter.__file__,
            str(self.theirs.fileno()),
            ",".join(self._kinds),
            *command,
        ]

    async def begin(self) -> None:
        """Start to watch the process that was started.

        Raises UnsupportedError if the kernel refuses the filter.
        """
        loop = asyncio.get_running_loop()
        self.theirs.close()
        ready = asyncio.Event()
        loop.add_reader(self._ours, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._ours)
        text, ancillary, *_ = self._ours.recvmsg(200, socket.CMSG_SPACE(4))
        if not ancillary:
            raise UnsupportedError(text.decode() or "its system calls cannot be watched")
        self._listener = array.array("i", ancillary[0][2])[0]
        loop.add_reader(self._listener, self._on_call)

    def close(self) -> None:
        """Stop watching; a stopped call fails."""
        self._ours.close()
        self.theirs.close()
        if self._listener >= 0:
            asyncio.get_running_loop().remove_reader(self._listener)
            os.close(self._listener)
            self._listener = -1

    def _on_call(self) -> None:
        event = bytearray(_EVENT.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, event)
        except OSError as error:
            if error.errno != errno.ENOENT:  # it was interrupted, or has ended
                raise
            if not _has_writers(self._listener):
                asyncio.get_running_loop().remove_reader(self._listener)
            return
        id_, thread, _, number, _, _, *arguments = _EVENT.unpack(event)
        result = None
        try:
            result = self._tell(number, thread, arguments)
        except OSError as error:
            self.failure = error
        flags = _CONTINUE if result is None else 0
        result = result or 0
        answer = bytearray(_ANSWER.pack(id_, max(result, 0), min(result, 0), flags))
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            fcntl.ioctl(self._listener, _SEND, answer)

    def _tell(self, number: int, thread: int, arguments: list[int]) -> int | None:
        known = MACHINES[platform.machine()][1][number]
        path = "" if known.path is None else _text(thread, arguments[known.path])
        if known.kind in ("read", "write"):
            path = behind(thread, arguments[0])
        value = _number(thread, arguments[3]) if known.kind == "no_delay" else 0
        if known.kind == "connect":
            family, path = _address(thread, arguments[1])
            if family not in _FAMILIES:
                return None
        call = Call(known.kind, path, time.monotonic(), thread, arguments[0], value)
        self.calls.append(call)
        return self.before(call)


def _ignore(call: Call) -> None:
    """Let a call continue unchanged."""


def behind(thread: int, descriptor: int) -> str:
    """Return the path behind a descriptor of the testee; a socket has one of its own."""
    return os.readlink(f"/proc/{thread}/fd/{descriptor}")


def socket_of(call: Call) -> socket.socket:
    """Return a copy of the testee's socket that the call uses."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = checked(libc.syscall(_PIDFD_OPEN, _process_of(call.thread), 0))
    try:
        fd = checked(libc.syscall(_PIDFD_GETFD, pidfd, call.descriptor, 0))
    finally:
        os.close(pidfd)
    return socket.socket(fileno=fd)


def _process_of(thread: int) -> int:
    with open(f"/proc/{thread}/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("Tgid:"):
                return int(line.split()[1])
    raise ProcessLookupError(errno.ESRCH, "a thread has no process")


def _memory(thread: int, address: int, size: int) -> bytes:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        try:
            return os.pread(memory.fileno(), size, address)
        except OSError:  # the range spans two pages, and the second may be unmapped
            page = os.sysconf("SC_PAGE_SIZE")
            return os.pread(memory.fileno(), page - address % page, address)


def _text(thread: int, address: int) -> str:
    return os.fsdecode(_memory(thread, address, _LONGEST).partition(b"\0")[0])


def _number(thread: int, address: int) -> int:
    return int.from_bytes(_memory(thread, address, 4), sys.byteorder)


def _address(thread: int, address: int) -> tuple[int, str]:
    """Return the family of a socket address, and its path if it has one."""
    family = int.from_bytes(_memory(thread, address, 2), sys.byteorder)
    if family != socket.AF_UNIX:
        return family, ""
    return family, _opened(thread, _text(thread, address + 2))


def _opened(thread: int, path: str) -> str:
    """Return the path behind a descriptor of the testee, if ``path`` names one."""
    own = "/proc/self/"
    if not path.startswith(f"{own}fd/"):
        return path
    return os.readlink(f"/proc/{thread}/{path.removeprefix(own)}")


def _has_writers(listener: int) -> bool:
    """Whether a process is left to which the filter applies."""
    poller = select.poll()
    poller.register(listener, 0)
    return not any(events & select.POLLHUP for _, events in poller.poll(0))
