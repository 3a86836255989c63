"""A child process, and those of its group, whatever event loop or none looks after it.

A number belongs to a process until it is reaped, and afterwards perhaps to another. So
the end of a child is looked at without reaping it; it is reaped once nothing of its
group lives, or all was killed. Where the system has descriptors of processes (Linux),
signals go through one, and never reach another process, whoever reaps our child.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from ipc_channel.fork import Process, lock, this_process
from ipc_channel.helper.spawn import popen, spawn
from ipc_channel.helper.windows_process import WindowsChild

UNKNOWN_STATUS = 255
"""Exit status of a process that something else has reaped; as in asyncio."""

_NONE = -1  # no descriptor
_PROCESS_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, since Linux 6.9


class Child(Protocol):
    """A process that was started here, with its group if that is its own."""

    maker: Process
    """The process that started it: a forked child of that must not end it."""
    status_lost: bool
    """Whether something else has reaped it, so that its exit status is unknown."""

    @property
    def pid(self) -> int:
        """Its number, which may belong to another process once it was released."""

    @property
    def released(self) -> bool:
        """Whether nothing is left to do for it."""

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""

    def group_lives(self) -> bool:
        """Whether others of its group live."""

    def signal(self, number: int) -> None:
        """Send a signal to it, if it runs."""

    def signal_all(self, number: int) -> None:
        """Send a signal to it and its group, as far as they run."""

    def release(self) -> None:
        """Reap it, if it has ended, and close what it is watched by."""

    def duplicate(self) -> int:
        """Return a new descriptor that is readable once it has ended; -1 for none."""


def start_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
) -> Child:
    """Start ``command``; raise OSError or ValueError if that cannot be."""
    _reap_abandoned()
    if sys.platform == "win32":
        return WindowsChild(popen(command, env=env, cwd=cwd, own_group=own_group))
    child = PosixChild(own_group=own_group)
    try:
        child.start(command, env=env, cwd=cwd)
    except BaseException:  # of a signal handler, perhaps after the start
        abandon(child)
        raise
    return child


class PosixChild:
    """A child that is looked at with ``waitid``."""

    def __init__(self, *, own_group: bool) -> None:
        self.maker = this_process()
        self.status_lost = False
        self._own_group = own_group
        self._status: int | None = None
        self._reaped = False  # the number may be another's
        self._released = False
        self._pidfd = _NONE
        self._started: list[int] = []  # its number

    def __del__(self) -> None:
        # Nobody has it: an exception of a signal handler came before anybody could.
        if hasattr(self, "_started") and not self.released:
            abandon(self)

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None,
    ) -> None:
        """Start ``command``; raise OSError or ValueError if that cannot be."""
        spawn(command, env=env, cwd=cwd, own_group=self._own_group, started=self._started)
        self._pidfd = _open_pidfd(self.pid)

    @property
    def pid(self) -> int:
        return self._started[0]

    @property
    def released(self) -> bool:
        return not self._started or self._released

    def poll(self) -> int | None:
        if self._status is None and self.maker.runs:
            try:
                self._status = self._look()
            except ChildProcessError:
                self._status = UNKNOWN_STATUS
                self._reaped = self.status_lost = True
            if self._status is not None and not self.group_lives():
                self.release()
        return self._status

    def group_lives(self) -> bool:
        if not self._own_group or self.released:
            return False
        if sys.platform == "linux" and os.path.exists("/proc/self/stat"):
            try:
                return self._reaches_group() and any(_living_members(self.pid))
            except OSError:  # no descriptor for looking: suppose so, and look again
                return True
        # There, those that have ended are not signalled, and so do not count.
        return self.poll() is not None and self._reaches_group()

    def signal(self, number: int) -> None:
        if self.poll() is not None or not self.maker.runs:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd == _NONE:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(self._pidfd, number)

    def signal_all(self, number: int) -> None:
        if not self.maker.runs:
            return
        if not self._own_group:
            self.signal(number)
        elif not self.released:
            with contextlib.suppress(ProcessLookupError):
                self._signal_group(number)

    def release(self) -> None:
        if self._status is None or self.released:
            return
        self._released = True
        if not self._reaped:
            self._reaped = True
            with contextlib.suppress(ChildProcessError):
                self._wait(os.WEXITED | os.WNOHANG)
        if self._pidfd != _NONE:
            os.close(self._pidfd)
            self._pidfd = _NONE

    def duplicate(self) -> int:
        try:
            return os.dup(self._pidfd)
        except OSError:  # there is none, or no room for another
            return _NONE

    def _look(self) -> int | None:
        """Return the exit status, if there is one, and leave it with the kernel."""
        if hasattr(os, "waitid"):
            found = self._wait(os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return None
            exited = found.si_code == os.CLD_EXITED
            return found.si_status if exited else -found.si_status
        # macOS before Python 3.13: to look is to reap.
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        self._reaped = pid != 0
        return os.waitstatus_to_exitcode(status) if pid else None

    def _wait(self, options: int) -> os.waitid_result | None:
        if self._pidfd == _NONE:
            return os.waitid(os.P_PID, self.pid, options)
        return os.waitid(os.P_PIDFD, self._pidfd, options)

    def _reaches_group(self) -> bool:
        """Whether a signal to the group reaches anybody, dead or alive."""
        try:
            self._signal_group(0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _signal_group(self, number: int) -> None:
        if self._pidfd != _NONE:
            try:
                signal.pidfd_send_signal(self._pidfd, number, None, _PROCESS_GROUP)
                return
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        if self._status is None:
            self.poll()  # something else may have reaped it
        if self._reaped:
            raise ProcessLookupError
        os.killpg(self.pid, number)


SIGKILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
"""The signal that ends a process for certain; on Windows every signal does."""

_abandoned: list[Child] = []


def abandon(child: Child) -> bool:
    """Kill what nobody will end any more; return whether there was anything."""
    if child.released or not child.maker.runs:
        return False
    child.poll()
    if child.released:
        return False
    with contextlib.suppress(OSError):
        child.signal_all(SIGKILL)
    _abandoned.append(child)
    _reap_abandoned()
    return True


def _reap_abandoned() -> None:
    with lock:  # threads may start helpers at the same time
        for child in tuple(_abandoned):
            if child.poll() is not None:
                child.release()
                with contextlib.suppress(ValueError):  # the garbage collector came between
                    _abandoned.remove(child)


def _open_pidfd(pid: int) -> int:
    """Return a descriptor of the process; -1 where there is none, or no room for one."""
    if not (hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")):
        return _NONE
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return _NONE
    try:
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        # Something else has reaped our child, and this may be another process; or
        # Linux 5.3, which cannot wait for it.
        os.close(fd)
        return _NONE
    return fd


def _living_members(group: int) -> Iterator[int]:
    """Yield the processes of a group that have not ended, but for its leader."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != group:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                if os.getpgid(int(name)) == group and _lives(name):
                    yield int(name)


def _lives(pid: str) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
