"""Users of Windows, which are named by security identifiers (SIDs): "S-1-5-21-…-1001"."""

from __future__ import annotations

import ctypes
import os
import re
import struct
from ctypes import wintypes
from typing import NamedTuple

from ipc_channel.windows.api import (
    ACCESS_DENIED,
    NO_SUCH_PROCESS,
    Function,
    closing,
    code_of,
    error_of,
)

_HANDLE, _DWORD = wintypes.HANDLE, wintypes.DWORD
_open_process = Function(
    "kernel32", "OpenProcess", _DWORD, wintypes.BOOL, _DWORD, result=_HANDLE
)
_get_process_times = Function(
    "kernel32", "GetProcessTimes", _HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4
)
_open_process_token = Function(
    "advapi32", "OpenProcessToken", _HANDLE, _DWORD, wintypes.LPHANDLE
)
_get_token_information = Function(
    "advapi32",
    "GetTokenInformation",
    *(_HANDLE, ctypes.c_int, ctypes.c_void_p, _DWORD, wintypes.LPDWORD),
)
_lookup_account_name = Function(
    "advapi32",
    "LookupAccountNameW",
    *(wintypes.LPCWSTR, wintypes.LPCWSTR, ctypes.c_void_p, wintypes.LPDWORD),
    *(wintypes.LPWSTR, wintypes.LPDWORD, ctypes.POINTER(ctypes.c_int)),
)

_QUERY_LIMITED_INFORMATION = 0x1000
_TOKEN_QUERY = 8
_TOKEN_USER = 1  # the user, among the kinds of information about a token
_LONGEST_SID = 68  # bytes
_SID = re.compile(r"S-1(-\d+){2,16}", re.ASCII | re.IGNORECASE)
# Of the kinds of accounts, those that a process can run as: users, and accounts of the
# system such as LOCAL SERVICE, which are well-known groups to this function.
_USERS = (1, 5)


class ProcessUser(NamedTuple):
    """Whose a process is."""

    sid: str
    created: int
    """When the process was made, as a FILETIME: in units of 100 ns since 1601."""


class _TokenUser(ctypes.Structure):
    _fields_ = (("sid", ctypes.c_void_p), ("attributes", _DWORD))


def user_of_process(pid: int) -> ProcessUser | None:
    """Return the user of a process; None if it has ended, or we may not ask.

    Only an administrator may ask for processes of other users. Raises OSError if Windows
    lacks something that the answer takes, since that says nothing about the process.
    """
    try:
        with closing(_open_process.checked(_QUERY_LIMITED_INFORMATION, False, pid)) as one:
            return ProcessUser(_user_of(one), _creation_time(one))
    except OSError as error:
        if code_of(error) in (ACCESS_DENIED, NO_SUCH_PROCESS):
            return None
        raise


def own_sid() -> str:
    """Return the user of this process; raise OSError if Windows does not tell."""
    found = user_of_process(os.getpid())
    if found is None:  # as for a thread that impersonates another user
        raise error_of(ACCESS_DENIED)
    return found.sid


def sid_of(user: str) -> str | None:
    """Return the SID that ``user`` is, or the SID of the account of that name.

    None if there is no such account, or if it is a group.
    """
    if _SID.fullmatch(user):
        return "-".join(("S", *(str(int(part)) for part in user.split("-")[1:])))
    sid = ctypes.create_string_buffer(_LONGEST_SID)
    size, kind = _DWORD(len(sid)), ctypes.c_int()
    domain = ctypes.create_unicode_buffer(256)
    room = _DWORD(len(domain))
    found = _lookup_account_name(
        *(None, user, sid, ctypes.byref(size)),
        *(domain, ctypes.byref(room), ctypes.byref(kind)),
    )
    return sid_text(sid.raw) if found and kind.value in _USERS else None


def sid_text(sid: bytes) -> str:
    """Return the text of a binary SID; what follows the SID is ignored."""
    revision, count, authority = sid[0], sid[1], int.from_bytes(sid[2:8], "big")
    parts = struct.unpack_from(f"<{count}I", sid, 8)
    return "-".join(map(str, ("S", revision, authority, *parts)))


def _user_of(process: int) -> str:
    token, user, size = _HANDLE(), ctypes.create_string_buffer(128), _DWORD()
    _open_process_token.checked(process, _TOKEN_QUERY, ctypes.byref(token))
    with closing(token.value or 0):
        _get_token_information.checked(
            token, _TOKEN_USER, user, len(user), ctypes.byref(size)
        )
    address = _TokenUser.from_buffer(user).sid  # within ``user``
    return sid_text(ctypes.string_at(address, _LONGEST_SID))


def _creation_time(process: int) -> int:
    times = [wintypes.FILETIME() for _ in range(4)]
    _get_process_times.checked(process, *map(ctypes.byref, times))
    return int(times[0].dwHighDateTime << 32 | times[0].dwLowDateTime)
