"""Programs on Windows that tests start, and how they are watched from outside."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable
from ctypes import wintypes
from pathlib import Path
from typing import Any

from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.windows.api import Function
from windows_handles import handles

PATIENCE = 60.0
SLEEP = "import time\ntime.sleep(1000)"
DEAF = "import signal\nsignal.signal(signal.SIGBREAK, signal.SIG_IGN)\n"


def program(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def start(code: str, *, own_group: bool = True, **options: Any) -> HelperProcess:
    """Start a program in a group of its own; it ends with this process, whatever happens."""
    options = {"env": None, "cwd": None, **options}
    return Command(program(code), process_group=own_group, **options).start({})


def say(path: Path, what: str) -> str:
    """Return code that writes the string ``what``, an expression, to ``path`` at once."""
    return (
        f"with open({str(path)!r} + '.new', 'w') as _file: _file.write({what})\n"
        f"import os; os.replace({str(path)!r} + '.new', {str(path)!r})\n"
    )


def wait_for(path: Path) -> str:
    """Return what was said."""
    text: list[str] = []

    def is_said() -> bool:
        # While a file gets its name, Windows refuses to open it.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            text.append(path.read_text())
        return bool(text)

    until(is_said)
    return text[0]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{condition} in {PATIENCE} s"
        time.sleep(0.01)


_open_process = Function(
    *("kernel32", "OpenProcess", wintypes.DWORD, wintypes.BOOL, wintypes.DWORD),
    result=wintypes.HANDLE,
)
_terminate = Function("kernel32", "TerminateProcess", wintypes.HANDLE, wintypes.UINT)
_wait = Function(
    *("kernel32", "WaitForSingleObject", wintypes.HANDLE, wintypes.DWORD),
    result=wintypes.DWORD,
)
_SYNCHRONIZE, _TERMINATE = 0x100000, 1


class Observed:
    """Another process, of which a handle is held, so that its number stays its own."""

    def __init__(self, pid: int) -> None:
        self._handle = _open_process.checked(_SYNCHRONIZE | _TERMINATE, False, pid)

    def ends(self, seconds: float = PATIENCE) -> bool:
        return bool(_wait(self._handle, int(seconds * 1000)) == 0)

    def kill(self) -> None:
        _terminate.checked(self._handle, 9)


def no_more_handles_than(before: Counter[str]) -> None:
    """Check that no more handles are open than before, or soon will be."""

    def more() -> Counter[str]:
        gc.collect()  # some are in reference cycles
        return handles() - before

    try:
        until(lambda: not more())
    except AssertionError:
        raise AssertionError(f"handles left open: {dict(more())}") from None


PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", {SLEEP!r}], creationflags={{flags}})
"""


def with_child(said: Path, then: str = SLEEP, flags: int = 0) -> str:
    """Return the code of a program that starts another one, and tells its number."""
    return PARENT.replace("{flags}", str(flags)) + say(said, "str(child.pid)") + then


SERVICE = """
import sys, time
from ipc_channel.helper.command import Command
command = Command(sys.argv[1:], env=None, cwd=None, process_group={own_group})
process = command.start({})
{then}
"""
