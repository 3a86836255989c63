"""Directories of odd and of long names."""

from __future__ import annotations

import os
from pathlib import Path

NAMES = {
    "spaces": b"a b  c ",
    "a newline": b"a\nb",
    "quotes": b"'\"$x`",
    "Latin-1": b"\xfcber",
    "UTF-8": "über☃".encode(),
    "a colon": b"127.0.0.1:80",
}


def make_long(directory: Path, size: int) -> str:
    """Return the path of a new directory below ``directory``, of ``size`` bytes."""
    path, fd = str(directory), os.open(directory, os.O_RDONLY)
    while len(os.fsencode(path)) < size:
        left = size - len(os.fsencode(path)) - 1
        name = "x" * (left if left <= 200 else min(200, left - 2))
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        path, fd = f"{path}/{name}", inner
    os.close(fd)
    return path
