"""A child process and its group on POSIX.

A process number is free for another process once the process has been reaped. So a
child is polled without being reaped; it is reaped once its whole group has ended or was
killed. Where the kernel has process descriptors (Linux), signals go through a
descriptor, and never reach another process, even if other code reaps our child.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from ipc_channel.fork import lock, this_process
from ipc_channel.helper import guard
from ipc_channel.helper.child import Watch, abandon, reap_abandoned
from ipc_channel.helper.result import signal_name
from ipc_channel.helper.spawn import spawn
from ipc_channel.helper.watch import DescriptorWatch, PollingWatch

UNKNOWN_STATUS = 255
"""Exit status of a process that other code has reaped; as in asyncio."""

_NONE = -1  # no descriptor
_PROCESS_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, since Linux 6.9


def start_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
    end_grace: float | None,
    streams: Mapping[int, int],
    nice: int = 0,
) -> PosixChild:
    """Start ``command``; raise OSError or ValueError if it cannot be started.

    If this process is killed, the child is ended, and gets ``end_grace`` seconds to end by
    itself; unless that is None. ``nice`` is for Windows; here the command does that.
    ``streams`` has the descriptors for standard output (1) and standard error (2); by
    default the child shares ours.
    """
    del nice
    reap_abandoned()
    child = PosixChild(own_group=own_group, end_grace=end_grace)
    try:
        child.start(command, env=env, cwd=cwd, streams=streams)
    except BaseException:  # from a signal handler, perhaps after the start
        abandon(child)
        raise
    return child


class PosixChild:
    """A child that is polled with ``waitid``."""

    def __init__(self, *, own_group: bool, end_grace: float | None) -> None:
        self.maker = this_process()
        self._end_grace = end_grace
        self._guarded: str | None = None  # how the guard lists it
        self._status_lost = False  # other code has reaped it
        self._own_group = own_group
        self._status: int | None = None
        self._reaped = False  # afterwards the number may be another process's
        self._released = False
        self._pidfd = _NONE
        self._started: list[int] = []  # its number, once it is started

    def __del__(self) -> None:
        # Dropped before its release: a signal handler raised just after the start.
        if hasattr(self, "_started") and not self.released:
            abandon(self)

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None,
        streams: Mapping[int, int],
    ) -> None:
        """Start ``command``; raise OSError or ValueError if it cannot be started."""
        if self._end_grace is not None:
            guard.prepare()
        spawn(
            command,
            env=env,
            cwd=cwd,
            own_group=self._own_group,
            streams=streams,
            started=self._started,
        )
        if self._end_grace is not None:
            self._guarded = guard.entry(
                self.pid, self._end_grace, own_group=self._own_group
            )
            guard.add(self._guarded)
        self._pidfd = _open_pidfd(self.pid)

    @property
    def pid(self) -> int:
        return self._started[0]

    @property
    def released(self) -> bool:
        return not self._started or self._released

    @property
    def ending(self) -> str:
        status = self.poll()
        if self._status_lost:
            return "ended with unknown status (another part of this service reaped it)"
        if status is None or status >= 0:
            return f"ended with status {status}"
        return f"was killed by {signal_name(-status)}"

    def poll(self) -> int | None:
        if self._status is None and self.maker.runs:
            with lock:  # another thread must not reap it while this one looks
                self._poll()
        return self._status

    def _poll(self) -> None:
        if self._status is not None:
            return
        try:
            self._status = self._look()
        except ChildProcessError:
            self._status = UNKNOWN_STATUS
            self._reaped = self._status_lost = True
        if self._status is not None and not self.group_lives():
            self.release()

    def group_lives(self) -> bool:
        if not self._own_group or self.released:
            return False
        if sys.platform == "linux" and os.path.exists("/proc/self/stat"):
            try:
                return self._reaches_group() and any(_living_members(self.pid))
            except OSError:  # no descriptor is free: assume so until the next poll
                return True
        # On other systems a signal does not reach processes that have ended.
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
        """Send a signal to it and its group, as far as they are running."""
        if not self.maker.runs:
            return
        if not self._own_group:
            self.signal(number)
        elif not self.released:
            with contextlib.suppress(ProcessLookupError):
                self._signal_group(number)

    def terminate_all(self) -> None:
        self.signal_all(signal.SIGTERM)

    def kill_all(self) -> None:
        self.signal_all(signal.SIGKILL)

    def release(self) -> None:
        with lock:  # or two threads would close one descriptor twice
            if self._status is not None and not self.released:
                self._release()

    def _release(self) -> None:
        if self._guarded is not None:
            guard.remove(self._guarded)
        self._released = True
        if not self._reaped:
            self._reaped = True
            with contextlib.suppress(ChildProcessError):
                self._wait(os.WEXITED | os.WNOHANG)
        if self._pidfd != _NONE:
            os.close(self._pidfd)
            self._pidfd = _NONE

    def watch(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], object]) -> Watch:
        try:
            fd = os.dup(self._pidfd)
        except OSError:  # it has no descriptor, or no further one is free
            return PollingWatch(loop, lambda: self.poll() is not None, on_end)
        return DescriptorWatch(loop, fd, on_end, self.maker)

    def _look(self) -> int | None:
        """Return the exit status, or None; do not reap the process."""
        if hasattr(os, "waitid"):
            found = self._wait(os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return None
            exited = found.si_code == os.CLD_EXITED
            return found.si_status if exited else -found.si_status
        # macOS before Python 3.13 cannot poll a process without reaping it.
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        self._reaped = pid != 0
        return os.waitstatus_to_exitcode(status) if pid else None

    def _wait(self, options: int) -> os.waitid_result | None:
        if self._pidfd == _NONE:
            return os.waitid(os.P_PID, self.pid, options)
        return os.waitid(os.P_PIDFD, self._pidfd, options)

    def _reaches_group(self) -> bool:
        """Whether a signal to the group reaches a process, even one that has ended."""
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
            self.poll()  # other code may have reaped it
        if self._reaped:
            raise ProcessLookupError
        os.killpg(self.pid, number)


def _open_pidfd(pid: int) -> int:
    """Return a descriptor of the process; -1 if the system has none, or none is free."""
    if not (hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")):
        return _NONE
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return _NONE
    try:
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        # Either other code has reaped our child, and this is another process, or this is
        # Linux 5.3, which cannot wait for a descriptor.
        os.close(fd)
        return _NONE
    return fd


def _living_members(group: int) -> Iterator[int]:
    """Yield the running processes of a group, except its leader."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != group:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                if os.getpgid(int(name)) == group and _lives(name):
                    yield int(name)


def _lives(pid: str) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
