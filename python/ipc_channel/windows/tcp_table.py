"""The table of all TCP connections, with the processes that made them."""

from __future__ import annotations

import ctypes
from ctypes import wintypes

from ipc_channel.windows.api import Function, error_of

_get_extended_tcp_table = Function(
    "iphlpapi",
    "GetExtendedTcpTable",
    *(ctypes.c_void_p, wintypes.LPDWORD, wintypes.BOOL, wintypes.ULONG),
    *(ctypes.c_int, wintypes.ULONG),
    result=wintypes.DWORD,
)
# With times and process numbers. Whether the first has half-closed connections, which the
# second certainly has, is not documented; Wine's has none.
_OWNER_MODULE_CONNECTIONS, _OWNER_MODULE_ALL = 7, 8
_INSUFFICIENT_BUFFER = 122
_LACKING = (8, 14, 1450, 1455)  # memory, or another resource of the system


def read_tcp_table(family: int, *, whole: bool) -> bytes:
    """Return the table of an address family as Windows lays it out; b"" if it has none.

    Unless it is ``whole``, it lacks sockets that are not connected, and may lack others.
    Raises OSError if a resource is lacking that may be there later.
    """
    size = wintypes.DWORD(1 << 14)
    while True:
        # Half as much again, since connections may be added meanwhile.
        size.value += size.value // 2
        buffer = ctypes.create_string_buffer(size.value)
        code = _get_extended_tcp_table(
            *(buffer, ctypes.byref(size), False, family),
            *(_OWNER_MODULE_ALL if whole else _OWNER_MODULE_CONNECTIONS, 0),
        )
        if code == 0:
            return buffer.raw
        if code in _LACKING:
            raise error_of(code)
        if code != _INSUFFICIENT_BUFFER:  # IPv6 is not installed, for instance
            return b""
