"""The guard ends the helpers of a service that was killed, on POSIX.

No code of the service runs after SIGKILL. So the first helper that a service starts brings
a second process along: a shell that reads what the service writes to a socket, and keeps a
list of the helpers that live. When the service dies, the kernel closes the socket, and the
shell does what ``Helper.stop`` would have done. It is no child of the service, so a service
that waits for all of its children does not meet it; and it ends as soon as the service has
ended and no helper on its list lives.

PR_SET_PDEATHSIG of Linux would not do: the kernel sends that signal when the *thread* that
started the helper ends, sends it to one process and not to the group, and drops it when a
program changes its user.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import math
import os
import signal
import socket
import sys

from ipc_channel import fork
from ipc_channel.helper.guard_shell import BEGIN, start_shell
from ipc_channel.log import safely

_logger = logging.getLogger("ipc_channel")

_TICK = 0.1  # seconds
_MOST = 10**8  # ticks, of which some shells can count no more than 2**31
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_SO_NOSIGPIPE = 0x1022  # of macOS, which has no MSG_NOSIGNAL
_FOR_WANT = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS)


def entry(pid: int, grace: float, *, own_group: bool) -> str:
    """Return how a child is listed; ``grace`` is in seconds."""
    ticks = min(math.ceil(grace / _TICK), _MOST)
    return f"{'-' if own_group else ''}{pid}:{_start_of(pid)}:{ticks}"


def _start_of(pid: int) -> str:
    """Return when a process was started; "0" if it is not there, "" if that is unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:
            return stat.read().rpartition(b")")[2].split()[19].decode()
    except (FileNotFoundError, ProcessLookupError):  # it was reaped, or this is not Linux
        return "0"
    except OSError:
        return ""


def prepare() -> None:
    """Start the guard of this process unless it runs; raise OSError if it cannot start.

    Without a shell, as in some containers, it logs a warning instead, once.
    """
    _guard_of_this_process().prepare()


def add(helper: str) -> None:
    """List a helper that was started; raise OSError as :func:`prepare` does."""
    _guard_of_this_process().add(helper)


def remove(helper: str) -> None:
    """Take a helper off the list: before it is reaped, as its number is free afterwards."""
    _guard_of_this_process().remove(helper)


def descriptor() -> int | None:
    """Return the number of the socket to the guard of this process, if there is one."""
    return _guard_of_this_process().descriptor()


class _Guard:
    """Our end of the socket, and what the shell at the other end knows.

    Every step may be done twice, as a signal handler may raise in between.
    """

    def __init__(self) -> None:
        self.maker = fork.this_process()
        self._socket: socket.socket | None = None
        self._identity = (0, 0)
        self._listed: set[str] = set()
        self._told: set[str] = set()  # what is on the list of the shell
        self._shells: list[int] = []  # those that start a guard, and are not reaped yet
        self._impossible = False

    def descriptor(self) -> int | None:
        return None if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Close the socket, as the end of this process does too; but not with a warning."""
        with fork.lock:
            if self._socket is not None and self._is_ours():
                fork.close(self._socket)
            self._socket = None

    def prepare(self) -> None:
        with fork.lock:  # threads may start helpers at the same time
            if self._impossible or (self._socket is not None and self._is_ours()):
                return
            try:
                self._start()
            except OSError as error:
                if error.errno in _FOR_WANT:
                    raise
                self._impossible = True
                safely(
                    _logger.warning,
                    "helpers will outlive this process if it is killed, because the shell"
                    " that is to end them cannot be started: %s",
                    error,
                )

    def add(self, helper: str) -> None:
        with fork.lock:
            self._listed.add(helper)
            self._tell()
            if self._socket is None:  # it was killed
                self.prepare()
                self._tell()

    def remove(self, helper: str) -> None:
        with fork.lock:
            self._listed.discard(helper)
            self._tell()

    def _start(self) -> None:
        self._end_left_shells()
        ours, theirs = fork.hold_pair()
        try:
            theirs.setblocking(True)  # a shell takes a read that would block for an end
            if sys.platform == "darwin":
                ours.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
            start_shell(theirs, self._shells)
            with contextlib.suppress(OSError):  # it has ended, as its status tells
                ours.send(BEGIN, _NO_SIGNAL)
            if not self._reap_shell():
                raise OSError(errno.EAGAIN, "a shell could not start the guard of helpers")
            self._told.clear()
            self._identity = _identity(ours)
            self._socket = ours
        finally:
            fork.close(theirs)
            if self._socket is not ours:
                fork.close(ours)

    def _reap_shell(self) -> bool:
        """Wait some milliseconds for the first shell; return whether it did its work."""
        status = 0
        with contextlib.suppress(ChildProcessError):  # other code has reaped it
            status = os.waitpid(self._shells[-1], 0)[1]
        self._shells.pop()
        return status == 0

    def _end_left_shells(self) -> None:
        """Kill and reap the shells of starts in which a signal handler has raised."""
        for pid in tuple(self._shells):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            self._shells.remove(pid)

    def _tell(self) -> None:
        """Tell the shell what has changed since it was told last."""
        self._end_left_shells()
        for helper in self._told - self._listed:
            if self._send(f"- {helper}\n"):
                self._told.discard(helper)
        for helper in self._listed - self._told:
            if self._send(f"+ {helper}\n"):
                self._told.add(helper)

    def _is_ours(self) -> bool:
        """Whether the service has not closed our socket, as a daemon closes all it has.

        Its number may stand for another file by then: so we forget it.
        """
        assert self._socket is not None
        with contextlib.suppress(OSError):
            if self._identity == _identity(self._socket):
                return True
        self._socket.detach()
        self._socket = None
        return False

    def _send(self, line: str) -> bool:
        if self._socket is None or not self._is_ours():
            return False
        try:
            self._socket.send(line.encode(), _NO_SIGNAL)
        except BlockingIOError:  # it was stopped; it is told with the next change
            return False
        except OSError:  # it was killed
            self.close()
            return False
        return True


def _identity(sock: socket.socket) -> tuple[int, int]:
    found = os.fstat(sock.fileno())
    return found.st_dev, found.st_ino


_guard: _Guard | None = None


@atexit.register
def _close_at_exit() -> None:
    if _guard is not None and _guard.maker.runs:
        _guard.close()


def _guard_of_this_process() -> _Guard:
    global _guard  # noqa: PLW0603  # one process, one guard
    with fork.lock:
        if _guard is None or not _guard.maker.runs:
            _guard = _Guard()
        return _guard
