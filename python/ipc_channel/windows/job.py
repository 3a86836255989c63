"""Job objects: processes that are counted, and ended, together."""

from __future__ import annotations

import ctypes
from ctypes import wintypes

from ipc_channel.windows.api import Function, close_handle

_HANDLE, _DWORD, _SIZE = wintypes.HANDLE, wintypes.DWORD, ctypes.c_size_t
_create_job = Function(
    "kernel32", "CreateJobObjectW", ctypes.c_void_p, wintypes.LPCWSTR, result=_HANDLE
)
_set_information = Function(
    "kernel32",
    "SetInformationJobObject",
    *(_HANDLE, ctypes.c_int, ctypes.c_void_p, _DWORD),
)
_query_information = Function(
    "kernel32",
    "QueryInformationJobObject",
    *(_HANDLE, ctypes.c_int, ctypes.c_void_p, _DWORD, wintypes.LPDWORD),
)
_terminate_job = Function("kernel32", "TerminateJobObject", _HANDLE, wintypes.UINT)

_MEMBERS = 3  # JobObjectBasicProcessIdList
_EXTENDED_LIMITS = 9
_KILL_ON_CLOSE = 0x2000
_BREAKAWAY_IF_ASKED = 0x800
_BREAKAWAY_ALWAYS = 0x1000


_MOST = 64  # members that are looked at


class _Members(ctypes.Structure):
    _fields_ = (
        ("assigned", _DWORD),
        ("listed", _DWORD),
        ("numbers", ctypes.c_size_t * _MOST),
    )


class _Limits(ctypes.Structure):
    _fields_ = (
        ("times", wintypes.LARGE_INTEGER * 2),
        ("flags", _DWORD),
        ("working_sets", _SIZE * 2),
        ("active_processes", _DWORD),
        ("affinity", _SIZE),
        ("priority_class", _DWORD),
        ("scheduling_class", _DWORD),
        ("io_counters", ctypes.c_ulonglong * 6),
        ("memory", _SIZE * 4),
    )


class Job:
    """A job object.

    With ``ends_on_close``, closing it, which the end of this process does too, ends what is
    in it. With ``keeps_descendants`` the processes that a member starts are members as well,
    unless they ask for the opposite (CREATE_BREAKAWAY_FROM_JOB).
    """

    def __init__(self, *, keeps_descendants: bool, ends_on_close: bool) -> None:
        self.handle: int = _create_job.checked(None, None)
        limits = _Limits()
        limits.flags = _KILL_ON_CLOSE if ends_on_close else 0
        limits.flags |= _BREAKAWAY_IF_ASKED if keeps_descendants else _BREAKAWAY_ALWAYS
        try:
            _set_information.checked(
                *(self.handle, _EXTENDED_LIMITS),
                *(ctypes.byref(limits), ctypes.sizeof(limits)),
            )
        except BaseException:
            self.close()
            raise

    def members(self) -> list[int]:
        """Return the numbers of its processes that are running, or of 64 of them."""
        found = _Members()
        # It fails, and lists what it can, if there are more.
        _query_information(
            *(self.handle, _MEMBERS),
            *(ctypes.byref(found), ctypes.sizeof(found), None),
        )
        return list(found.numbers[: found.listed])

    def terminate(self, status: int) -> None:
        """End all of its processes at once, with the exit status ``status``."""
        _terminate_job.checked(self.handle, status)

    def close(self) -> None:
        """Close the handle; call it once."""
        close_handle(self.handle)
