"""A child process on Windows, in a job with the processes that it starts.

The job belongs to this process alone. So Windows ends the helper, and what the helper has
started, however this process ends; unless the helper is to outlive it.

Windows has no signals. What comes closest to SIGTERM is CTRL_BREAK, which reaches a group
of processes on the console of this process. A process without a handler for it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import functools
import os
import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from ctypes import wintypes

from ipc_channel.fork import lock, this_process
from ipc_channel.helper.child import Watch, abandon, reap_abandoned
from ipc_channel.helper.result import KILLED
from ipc_channel.helper.watch import PollingWatch
from ipc_channel.windows.api import Function, close_handle, duplicate
from ipc_channel.windows.job import Job
from ipc_channel.windows.process import ProcessInformation, create_process, is_console_host
from ipc_channel.windows.wait import Wait

_wait_for_object = Function(
    "kernel32",
    "WaitForSingleObject",
    *(wintypes.HANDLE, wintypes.DWORD),
    result=wintypes.DWORD,
)
_get_exit_code = Function(
    "kernel32", "GetExitCodeProcess", wintypes.HANDLE, wintypes.LPDWORD
)
_terminate_process = Function(
    "kernel32", "TerminateProcess", wintypes.HANDLE, wintypes.UINT
)
_send_console_event = Function(
    "kernel32", "GenerateConsoleCtrlEvent", wintypes.DWORD, wintypes.DWORD
)

TERMINATED = 1
"""Exit status of a process that ``terminate`` or ``kill`` has ended; as in asyncio."""
_ENDINGS = {
    KILLED: "was killed by this service",
    0xC000013A: "was ended by CTRL_BREAK or CTRL_C (STATUS_CONTROL_C_EXIT)",
    0xC0000005: "crashed (STATUS_ACCESS_VIOLATION)",
    0xC00000FD: "crashed (STATUS_STACK_OVERFLOW)",
    0xC0000409: "crashed (STATUS_STACK_BUFFER_OVERRUN, with which abort() ends too)",
    0xC0000135: "did not find a DLL that it needs (STATUS_DLL_NOT_FOUND)",
    0xC0000142: "could not initialize a DLL (STATUS_DLL_INIT_FAILED)",
}
_CTRL_C, _CTRL_BREAK = 0, 1
_LEAST_ERROR = 0x80000000  # of the statuses of Windows, and none of a program's own
_SIGNALLED = 0


def start_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
    end_grace: float | None,
    streams: Mapping[int, int],
    nice: int = 0,
) -> WindowsChild:
    """Start ``command``; raise OSError or ValueError if it cannot be started.

    If this process is killed, the child is ended at once, unless ``end_grace`` is None.
    ``nice`` chooses a priority class.
    ``streams`` has the handles for standard output (1) and standard error (2); by default
    the child shares ours.
    """
    reap_abandoned()
    child = WindowsChild(own_group=own_group, outlives_us=end_grace is None, nice=nice)
    try:
        child.start(command, env=env, cwd=cwd, streams=streams)
    except BaseException:  # from a signal handler, perhaps after the start
        abandon(child)
        raise
    return child


class WindowsChild:
    """A child that we hold a handle of, which reserves its number."""

    _job: Job

    def __init__(self, *, own_group: bool, outlives_us: bool, nice: int) -> None:
        self.maker = this_process()
        self._outlives_us = outlives_us
        self._nice = nice
        self._own_group = own_group
        self._status: int | None = None
        self._released = False
        self._made = ProcessInformation()

    def __del__(self) -> None:
        # Dropped before its release: a signal handler raised just after the start.
        if hasattr(self, "_made") and not self.released:
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
        if cwd is not None:
            _check_directory(cwd)
        self._job = Job(
            keeps_descendants=self._own_group, ends_on_close=not self._outlives_us
        )
        try:
            create_process(
                command,
                env=env,
                cwd=cwd,
                own_group=self._own_group,
                nice=self._nice,
                job=self._job.handle,
                streams=streams,
                made=self._made,
            )
        finally:
            if not self._made.process:
                self._job.close()

    @property
    def pid(self) -> int:
        return int(self._made.process_id)

    @property
    def released(self) -> bool:
        return not self._made.process or self._released

    @property
    def ending(self) -> str:
        status = self.poll()
        if status is None or status < _LEAST_ERROR:
            return f"ended with status {status}"
        return _ENDINGS.get(status, f"ended with status 0x{status:08X}")

    def poll(self) -> int | None:
        if self._status is None and self.maker.runs:
            with lock:  # another thread must not close the handle while this one looks
                self._poll()
        return self._status

    def _poll(self) -> None:
        if self._status is not None or self.released:
            return
        if _wait_for_object(self._made.process, 0) == _SIGNALLED:
            code = wintypes.DWORD()
            _get_exit_code.checked(self._made.process, ctypes.byref(code))
            self._status = code.value
        if self._status is not None and not self.group_lives():
            self.release()

    def watch(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], object]) -> Watch:
        with contextlib.suppress(OSError):  # a resource is lacking
            with lock:
                handle = None if self.released else duplicate(self._made.process)
            if handle is not None:  # outside of the lock, for which a callback may wait
                return Wait(handle, functools.partial(_call_in, loop, on_end))
        return PollingWatch(loop, lambda: self.poll() is not None, on_end)

    def group_lives(self) -> bool:
        with lock:
            if not self._own_group or self.released:
                return False
            others = (pid for pid in self._job.members() if pid != self.pid)
            return not all(map(is_console_host, others))

    def signal(self, number: int) -> None:
        """Do what ``send_signal`` of asyncio's processes does."""
        with lock:
            if self.poll() is None and not self.released:
                self._signal(number)

    def _signal(self, number: int) -> None:
        if number == signal.SIGTERM:
            self._terminate()
        elif number not in (_CTRL_C, _CTRL_BREAK):
            raise ValueError(
                f"signal {number} cannot be sent on Windows: use terminate(), or"
                " signal.CTRL_BREAK_EVENT"
            )
        elif not self._own_group:
            # Windows would send it to every process on the console, and to this one.
            raise ValueError(
                "the helper shares our process group: leave process_group out to send"
                " signals to the helper alone"
            )
        elif number == _CTRL_C:
            # Windows says that it was sent, and sends it to nobody in such a group.
            raise ValueError(
                "CTRL_C_EVENT does not reach a helper in a group of its own: use"
                " signal.CTRL_BREAK_EVENT"
            )
        else:
            _send_console_event.checked(number, self.pid)

    def terminate_all(self) -> None:
        with lock:
            # It reaches nothing without a console that both share.
            if not self.released and not (
                self._own_group and _send_console_event(_CTRL_BREAK, self.pid)
            ):
                self.kill_all()

    def kill_all(self) -> None:
        with lock:
            if not self.released:
                self._job.terminate(KILLED)

    def release(self) -> None:
        with lock:  # or two threads would close one handle twice
            if self._status is None or self.released:
                return
            self._released = True
            self._job.close()
            close_handle(self._made.process)

    def _terminate(self) -> None:
        try:
            _terminate_process.checked(self._made.process, TERMINATED)
        except PermissionError:
            if self.poll() is None:
                raise


def _check_directory(path: str | os.PathLike[str]) -> None:
    """Raise an OSError that names ``path``, which that of Windows does not."""
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _call_in(loop: asyncio.AbstractEventLoop, on_end: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed
        loop.call_soon_threadsafe(on_end)
