"""Wine, under which the tests of Windows may run, and where it differs from Windows.

Each difference was seen with Wine 8.0, and is named in the tests that it concerns.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

import pytest

from ipc_channel.windows import process, tcp_table

_OUT_OF_MEMORY = 14


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


IS_WINE = _is_wine()


def get_used_to_it() -> None:
    """Have tests go on where Wine fails by chance, and start what they start faster."""
    open_nul_again()
    read_tables_again()
    if path := os.environ.get("PYTHONPATH_OF_CHILDREN"):
        os.environ["PYTHONPATH"] = path


def open_nul_again() -> None:
    """Have the package try again where Wine refuses to open NUL, as it does now and then.

    To Wine a device is a file that another process may keep to itself.
    """

    def patient_open(*arguments: Any, **options: Any) -> Any:
        for _ in range(50):
            try:
                return open(*arguments, **options)  # the caller closes it
            except PermissionError:
                time.sleep(0.01)
        return open(*arguments, **options)

    vars(process)["open"] = patient_open


def read_tables_again() -> None:
    """Have the package ask again where Wine cannot list the connections of the machine.

    Its nsi.dll says ERROR_OUTOFMEMORY after five looks between which the table has grown.
    """
    read = tcp_table.read_tcp_table

    def patient_read(family: int, *, whole: bool) -> bytes:
        for _ in range(50):
            try:
                return read(family, whole=whole)
            except OSError as error:
                if getattr(error, "winerror", 0) != _OUT_OF_MEMORY:
                    raise
        return read(family, whole=whole)

    vars(tcp_table)["read_tcp_table"] = patient_read


def not_under_wine(reason: str) -> pytest.MarkDecorator:
    """Skip a test under Wine, which lacks what the reason says."""
    return pytest.mark.skipif(IS_WINE, reason=f"NOT TESTED under Wine: {reason}")


NO_IPV6_OWNER = "it does not tell the process of an IPv6 socket"
NO_RESET = "it shuts a socket down before it closes it, so a reset looks like an end"
NO_CTRL_BREAK = "it has no CTRL_BREAK (server/console.c: GenerateConsoleCtrlEvent fails)"
