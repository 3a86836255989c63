"""Waiting for a handle in the thread pool of Windows, which takes no thread of ours."""

from __future__ import annotations

import atexit
import ctypes
import functools
import itertools
import sys
import threading
from collections.abc import Callable
from ctypes import wintypes
from typing import Any

from ipc_channel.windows.api import Function, close_handle

_register_wait = Function(
    "kernel32",
    "RegisterWaitForSingleObject",
    *(wintypes.LPHANDLE, wintypes.HANDLE, ctypes.c_void_p, ctypes.c_void_p),
    *(wintypes.ULONG, wintypes.ULONG),
)
_unregister_wait = Function(
    "kernel32", "UnregisterWaitEx", wintypes.HANDLE, wintypes.HANDLE
)
_FOR_EVER = 2**32 - 1
_ONCE = 8  # WT_EXECUTEONLYONCE
_UNTIL_DONE = wintypes.HANDLE(-1)

_numbers = itertools.count(1)
_open: dict[
    int, Wait
] = {}  # kept until closed, by the numbers that Windows calls back with
_thread = threading.local()


class Wait:
    """Calls ``callback`` in a thread of the pool once ``handle`` is signalled.

    The handle is the wait's own, and is closed with it: none may be closed while it is
    waited for.
    """

    def __init__(self, handle: int, callback: Callable[[], object]) -> None:
        self.callback = callback
        self._number = next(_numbers)
        self._wait = wintypes.HANDLE()
        self._handle = handle
        _open[self._number] = self
        try:
            _register_wait.checked(
                *(ctypes.byref(self._wait), self._handle, _entry(), self._number),
                *(_FOR_EVER, _ONCE),
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop waiting; once it returns, ``callback`` neither runs nor is called."""
        if _open.pop(self._number, None) is None:
            return
        if self._wait.value is not None:
            # A garbage collection within a callback may lead here: it cannot wait for the
            # end of that callback.
            is_called_back = getattr(_thread, "is_of_the_pool", False)
            _unregister_wait(self._wait, None if is_called_back else _UNTIL_DONE)
        close_handle(self._handle)


@functools.cache
def _entry() -> Any:
    """Return the function that Windows calls: one for all, which is never freed."""
    if sys.platform != "win32":
        raise NotImplementedError
    atexit.register(_close_all)
    return ctypes.WINFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ubyte)(_on_signalled)


def _on_signalled(number: int, _: int) -> None:
    _thread.is_of_the_pool = True
    wait = _open.get(number)
    if wait is not None:
        wait.callback()


def _close_all() -> None:
    """Stop all waiting, since the interpreter cannot be called while it ends."""
    for wait in list(_open.values()):
        wait.close()
