"""Splits the output of a helper into lines, and keeps the last ones."""

from __future__ import annotations

import json
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

LONGEST_LINE = 65536
"""Bytes after which a line is split, so that a line without end takes no memory."""
KEPT_LINES = 100
_KEPT_OF_A_LINE = 2000  # characters


class LineSplitter:
    """Turns bytes into lines of text, however they arrive."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes, most: int = sys.maxsize) -> Iterator[str]:
        """Yield the last lines that ``data`` completes, ``most`` of them, without their ends."""
        *whole, self._partial = (self._partial + data).split(b"\n")
        for line in whole[-most:]:
            yield from _pieces(line.removesuffix(b"\r"))
        if len(self._partial) >= LONGEST_LINE:
            yield from self.flush()

    def begun(self) -> list[str]:
        """Return the last line, if it has no end yet."""
        return list(_pieces(self._partial)) if self._partial else []

    def flush(self) -> Iterator[str]:
        """Yield the last line if it has no end."""
        lines, self._partial = self.begun(), b""
        yield from lines


def _pieces(line: bytes) -> Iterator[str]:
    for start in range(0, max(len(line), 1), LONGEST_LINE):
        # A byte that is not UTF-8 becomes \xff: every line can be shown and logged.
        yield line[start : start + LONGEST_LINE].decode("utf-8", "backslashreplace")


class LastLines:
    """The last lines that a helper has written, each cut if it is very long."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    def add(self, line: str) -> None:
        self._lines.append(_shortened(line))

    def get(self, begun: Iterable[str]) -> tuple[str, ...]:
        """Return the lines, with those behind them that have no end yet."""
        return (*self._lines, *map(_shortened, begun))[-KEPT_LINES:]


def _shortened(line: str) -> str:
    if len(line) <= _KEPT_OF_A_LINE:
        return line
    return f"{line[:_KEPT_OF_A_LINE]}... ({len(line)} characters)"


_LEVEL_KEYS = ("level", "@level", "severity", "lvl", "levelname", "log.level")
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "information": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "err": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}


def level_of(line: str, default: int = logging.INFO) -> int:
    """Return the level of a log line that is a JSON object, and ``default`` of others.

    Numbers are those of pino and bunyan: 30 is INFO, 40 WARNING, 50 ERROR, 60 CRITICAL.
    """
    if not line.startswith("{"):
        return default
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return default
    if not isinstance(record, dict):
        return default
    stated = next((record[key] for key in _LEVEL_KEYS if key in record), None)
    return _level(stated, default)


def _level(stated: Any, default: int) -> int:
    if isinstance(stated, str):
        return _LEVELS.get(stated.lower(), default)
    if isinstance(stated, int | float) and not isinstance(stated, bool):
        bounds = ((60, logging.CRITICAL), (50, logging.ERROR), (40, logging.WARNING))
        lowest = logging.INFO if stated >= 30 else logging.DEBUG
        return next((level for bound, level in bounds if stated >= bound), lowest)
    return default
