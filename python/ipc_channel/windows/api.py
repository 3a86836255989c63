"""Functions and handles of Windows."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from ctypes import wintypes
from typing import Any

ACCESS_DENIED = 5
NO_SUCH_PROCESS = 87
"""What opening a process says if its number belongs to none (ERROR_INVALID_PARAMETER)."""


class Function:
    """A function of Windows, which is looked up when it is called first."""

    def __init__(
        self, library: str, name: str, *arguments: Any, result: Any = wintypes.BOOL
    ) -> None:
        self._library = library
        self._name = name
        self._arguments = arguments
        self._result = result

    def __call__(self, *arguments: Any) -> Any:
        """Call it, and return what it returns."""
        return self._found(*arguments)

    def checked(self, *arguments: Any) -> Any:
        """Call it, and return what it returns; raise OSError if that is 0."""
        result = self._found(*arguments)
        if not result:
            raise last_error()
        return result

    @functools.cached_property
    def _found(self) -> Any:
        if sys.platform != "win32":
            raise NotImplementedError(f"{self._name} is a function of Windows")
        found = ctypes.WinDLL(self._library, use_last_error=True)[self._name]
        found.argtypes = self._arguments
        found.restype = self._result
        return found


def last_error(filename: str | None = None) -> OSError:
    """Return the error of the last function that was called in this thread."""
    if sys.platform != "win32":
        raise NotImplementedError
    return error_of(ctypes.get_last_error(), filename)


def error_of(code: int, filename: str | None = None) -> OSError:
    """Return the error with a code that a function of Windows has returned."""
    if sys.platform != "win32":
        raise NotImplementedError
    return OSError(None, strerror(code), filename, code)


def code_of(error: OSError) -> int | None:
    """Return the code of Windows that an error has, if it has one."""
    code: int | None = getattr(error, "winerror", None)  # other systems do not know it
    return code


def socket_error(code: int) -> OSError:
    """Return the error with a code that a socket has returned, on any system.

    On Windows some of these codes stand for a POSIX one: WSAEACCES for EACCES.
    """
    if sys.platform == "win32":
        return error_of(code)
    return OSError(code, os.strerror(code))


def strerror(code: int) -> str:
    """Return what an error means; ``os.strerror`` does not know Windows' errors of sockets."""
    if sys.platform == "win32":
        return ctypes.FormatError(code).strip().removesuffix(".")
    return os.strerror(code)


close_handle = Function("kernel32", "CloseHandle", wintypes.HANDLE)
_duplicate_handle = Function(
    "kernel32",
    "DuplicateHandle",
    *(wintypes.HANDLE, wintypes.HANDLE, wintypes.HANDLE, wintypes.LPHANDLE),
    *(wintypes.DWORD, wintypes.BOOL, wintypes.DWORD),
)
_SAME_ACCESS = 2
_THIS_PROCESS = wintypes.HANDLE(-1)


@contextlib.contextmanager
def closing(handle: int) -> Iterator[int]:
    """Close ``handle`` at the end of the block."""
    try:
        yield handle
    finally:
        close_handle(handle)


def duplicate(handle: int, *, inheritable: bool = False) -> int:
    """Return another handle of the same object."""
    made = wintypes.HANDLE()
    _duplicate_handle.checked(
        *(_THIS_PROCESS, handle, _THIS_PROCESS, ctypes.byref(made)),
        *(0, inheritable, _SAME_ACCESS),
    )
    return made.value or 0
