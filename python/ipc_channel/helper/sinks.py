"""Where the output of a helper goes: to our stderr, a logger, a file, a callable."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
from collections.abc import Callable
from typing import IO, Any, Literal, Protocol

from ipc_channel.helper.lines import LineSplitter, level_of
from ipc_channel.log import safely

Logger = logging.Logger | logging.LoggerAdapter[Any]
OutputOption = (
    Literal["inherit", "forward", "log", "discard"]
    | Logger
    | os.PathLike[str]
    | IO[Any]
    | Callable[[str], object]
)
"""What may be said of a helper's standard output or standard error."""

_WORDS = ("inherit", "forward", "log", "discard")
_AT_ONCE = 4096  # bytes: what a pipe that has room takes without blocking (PIPE_BUF)
_logger = logging.getLogger("ipc_channel.helper")


class Sink(Protocol):
    """Takes what a helper writes."""

    def write(self, data: bytes) -> bytes:
        """Take ``data``; return what has to be offered again, as there is no room."""

    def close(self) -> None:
        """Take note that nothing follows."""


class Lines:
    """Hands lines to a function, whose errors end nothing."""

    def __init__(self, take: Callable[[str], object]) -> None:
        self._take = take
        self._splitter = LineSplitter()
        self._has_failed = False

    def write(self, data: bytes) -> bytes:
        for line in self._splitter.feed(data):
            self._hand_over(line)
        return b""

    def close(self) -> None:
        for line in self._splitter.flush():
            self._hand_over(line)

    def _hand_over(self, line: str) -> None:
        try:
            self._take(line)
        except Exception:  # noqa: BLE001  # raised by the application's code
            if not self._has_failed:  # or a helper that writes much would flood the log
                self._has_failed = True
                text = "%r failed for a line of a helper; further failures are not logged"
                safely(_logger.exception, text, self._take)


class File:
    """Writes to a descriptor, which it owns if ``owned``, without ever blocking in it."""

    def __init__(self, fd: int, *, owned: bool) -> None:
        self._fd = fd
        self._owned = owned

    def write(self, data: bytes) -> bytes:
        rest = memoryview(data)
        try:
            while rest and self._has_room():
                rest = rest[os.write(self._fd, rest[:_AT_ONCE]) :]
        except BlockingIOError:
            pass
        except OSError:  # closed, or its reader has gone, or the disk is full
            return b""
        return bytes(rest)

    def _has_room(self) -> bool:
        if sys.platform == "win32":
            return True
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        return bool(poller.poll(0))

    def close(self) -> None:
        if self._owned:
            with contextlib.suppress(OSError):
                os.close(self._fd)


class Nothing:
    """Takes everything, and drops it; only the last lines are kept."""

    def write(self, data: bytes) -> bytes:  # noqa: ARG002  # of Sink
        return b""

    def close(self) -> None: ...


def check_output(name: str, option: Any) -> None:
    """Raise unless ``option`` says what is to become of an output."""
    if isinstance(option, str):
        if option in _WORDS:
            return
        words = ", ".join(map(repr, _WORDS))
        raise ValueError(
            f"{name} is {option!r}: use one of {words}, or pathlib.Path for a file"
        )
    is_file = hasattr(option, "fileno")
    known = (logging.Logger, logging.LoggerAdapter, os.PathLike)
    if not (isinstance(option, known) or is_file or callable(option)):
        raise TypeError(
            f'{name} is "inherit", "forward", "log", "discard", a logger, a path, a file or'
            f" a function that takes a line, not {type(option).__name__}"
        )


def open_sink(option: Any, *, stream: int, name: str, pid: Callable[[], int]) -> Sink:
    """Return what ``option`` stands for; ``stream`` is 1 for output, and 2 for errors.

    Raises OSError if a file cannot be opened.
    """
    if option == "forward":
        return File(stream, owned=False) if _is_ours(stream) else Nothing()
    if option == "discard":
        return Nothing()
    if option == "log":
        option = logging.getLogger(f"ipc_channel.helper.{name}")
    if isinstance(option, logging.Logger | logging.LoggerAdapter):
        return Lines(_logging(option, pid))
    if isinstance(option, os.PathLike):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        return File(os.open(option, flags, 0o666), owned=True)
    if hasattr(option, "fileno"):
        return File(option.fileno(), owned=False)
    return Lines(option)


def _is_ours(stream: int) -> bool:
    """Whether it is a standard stream, and not another file in the place of a closed one."""
    try:
        return os.get_inheritable(stream)
    except OSError:
        return False


def _logging(logger: Logger, pid: Callable[[], int]) -> Callable[[str], object]:
    def log(line: str) -> None:
        level = level_of(line)
        if logger.isEnabledFor(level):
            logger.log(level, "[%d] %s", pid(), line)

    return log
