"""The name of a helper, under which its output is logged."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

_INTERPRETER = re.compile(
    r"(python|pypy|node|nodejs|bun|deno|ruby|perl|php|lua|java|bash|dash|sh)[\d.]*w?"
)


def name_of(command: Sequence[str]) -> str:
    """Return the name of a program or, behind an interpreter, that of the script."""
    name = _stem(command[0])
    if _INTERPRETER.fullmatch(name):
        for word in command[1:]:
            if not word.startswith("-"):
                return _without_dots(_stem(word))
            if word in ("-c", "-e", "-m"):
                break
    return _without_dots(name)


def check_name(name: Any) -> str:
    """Return ``name``, or raise unless it can be the name of a logger."""
    if not isinstance(name, str):
        raise TypeError(f"name is a str, not {type(name).__name__}")
    if not name or name != name.strip("."):
        raise ValueError(
            f"name is {name!r}: it must not be empty, nor begin or end with a dot"
        )
    return name


def _stem(path: str) -> str:
    base = os.path.basename(path.replace("\\", "/").rstrip("/"))
    stem, extension = os.path.splitext(base)
    return stem if extension[1:].isalpha() and stem else base


def _without_dots(name: str) -> str:
    """A dot would make it the child of another logger."""
    return name.replace(".", "_") or "helper"
