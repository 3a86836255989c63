"""The handles of this process on Windows."""

from __future__ import annotations

import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterator
from ctypes import wintypes

from ipc_channel.windows.api import Function

_query_system = Function(
    *("ntdll", "NtQuerySystemInformation", ctypes.c_int, ctypes.c_void_p, wintypes.ULONG),
    wintypes.PULONG,
    result=ctypes.c_long,
)
_query_object = Function(
    *("ntdll", "NtQueryObject", wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p),
    *(wintypes.ULONG, wintypes.PULONG),
    result=ctypes.c_long,
)
_getsockopt = Function(
    *("ws2_32", "getsockopt", ctypes.c_size_t, ctypes.c_int, ctypes.c_int),
    *(ctypes.c_void_p, ctypes.c_void_p),
    result=ctypes.c_int,
)
_HANDLES = 64  # SystemExtendedHandleInformation
_ENTRY = struct.Struct("=QQQ16x")  # object, process, handle
_TYPE = 2  # ObjectTypeInformation
_NAME = struct.Struct("=HHxxxxQ")  # size, room, address
_OURS = {"Process", "Thread", "File", "Job", "IoCompletion", "Section"}
_SOL_SOCKET, _SO_TYPE = 0xFFFF, 0x1008


def all_handles() -> Iterator[int]:
    """Yield the handles of this process.

    Wine does not count them (GetProcessHandleCount), but it lists those of all processes.
    """
    size = 1 << 16
    while True:
        listed = ctypes.create_string_buffer(size)
        if _query_system(_HANDLES, listed, size, None) == 0:
            break
        size *= 2
    (count,) = struct.unpack_from("=Q", listed)
    entries = memoryview(listed)[16 : 16 + count * _ENTRY.size]
    yield from (
        handle for _, pid, handle in _ENTRY.iter_unpack(entries) if pid == os.getpid()
    )


def handles() -> Counter[str]:
    """Count the handles of this process by type, of those types that our code opens.

    The system's own pool of threads comes and goes, and has events.
    """
    return Counter(kind for kind in map(_kind, all_handles()) if kind in _OURS)


def _kind(handle: int) -> str:
    told = ctypes.create_string_buffer(1024)
    if _query_object(handle, _TYPE, told, len(told), None) != 0:
        return "closed since"
    size, _, address = _NAME.unpack_from(told)
    return ctypes.string_at(address, size).decode("utf-16-le")


def open_sockets() -> set[str]:
    """Return the sockets of this process."""
    kind, size = ctypes.c_int(), ctypes.c_int(4)
    return {
        str(handle)
        for handle in all_handles()
        if _getsockopt(
            handle, _SOL_SOCKET, _SO_TYPE, ctypes.byref(kind), ctypes.byref(size)
        )
        == 0
    }
