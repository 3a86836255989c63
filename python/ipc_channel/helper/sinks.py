"""Where the output of a helper goes: to our stderr, a logger, a file, a callable."""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Literal, Protocol

from ipc_channel.helper.files import Nothing, Ours, file_sink, path_sink
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
_KNOWN = (logging.Logger, logging.LoggerAdapter, os.PathLike)
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
        self._waiting: deque[str] = deque()
        self._is_busy = False
        self._has_failed = False

    def write(self, data: bytes) -> bytes:
        self._waiting.extend(self._splitter.feed(data))
        self._hand_over_all()
        return b""

    def close(self) -> None:
        self._waiting.extend(self._splitter.flush())
        self._hand_over_all()

    def _hand_over_all(self) -> None:
        """Hand over what waits, in its order, even if the function itself causes reading."""
        if self._is_busy:
            return
        try:
            self._is_busy = True
            while self._waiting:
                self._hand_over(self._waiting.popleft())
        finally:
            self._is_busy = False

    def _hand_over(self, line: str) -> None:
        try:
            self._take(line)
        except BaseException as error:
            # Nothing handles SystemExit in another thread, which may read for all helpers.
            if (
                not isinstance(error, Exception)
                and threading.current_thread() is threading.main_thread()
            ):
                raise
            if not self._has_failed:  # or a helper that writes much would flood the log
                self._has_failed = True
                text = "%r failed for a line of a helper; further failures are not logged"
                safely(_logger.exception, text, self._take)


def check_output(name: str, option: Any) -> None:
    """Raise unless ``option`` says what is to become of an output."""
    if isinstance(option, str):
        if option in _WORDS:
            return
        words = ", ".join(map(repr, _WORDS))
        raise ValueError(
            f"{name} is {option!r}: use one of {words}, or pathlib.Path for a file"
        )
    if hasattr(option, "fileno"):
        _check_file(name, option)
    elif inspect.iscoroutinefunction(option):
        raise TypeError(f"{name} is a coroutine function: use a plain one, which is called")
    elif not (isinstance(option, _KNOWN) or callable(option)):
        raise TypeError(
            f'{name} is "inherit", "forward", "log", "discard", a logger, a path, a file or'
            f" a function that takes a line, not {type(option).__name__}"
        )


def _check_file(name: str, file: Any) -> None:
    try:
        file.fileno()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{name} is {file!r}, which is no open file of the system ({error}): use a"
            " function that takes a line"
        ) from error
    if not getattr(file, "writable", lambda: True)():
        raise ValueError(f"{name} is {file!r}, which is not open for writing")


def open_sink(option: Any, *, stream: int, name: str, pid: Callable[[], int]) -> Sink:
    """Return what ``option`` stands for; ``stream`` is 1 for output, and 2 for errors.

    Raises OSError if a file cannot be opened.
    """
    if option == "forward":
        return Ours(stream)
    if option == "discard":
        return Nothing()
    if option == "log":
        option = logging.getLogger(f"ipc_channel.helper.{name}")
    if isinstance(option, logging.Logger | logging.LoggerAdapter):
        return Lines(_logging(option, pid))
    if isinstance(option, os.PathLike):
        return path_sink(option)
    return file_sink(option.fileno()) if hasattr(option, "fileno") else Lines(option)


def _logging(logger: Logger, pid: Callable[[], int]) -> Callable[[str], object]:
    def log(line: str) -> None:
        level = level_of(line)
        if logger.isEnabledFor(level):
            logger.log(level, "[%d] %s", pid(), line)

    return log
