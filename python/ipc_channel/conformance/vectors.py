"""The vectors of the specification, from the wheel or from a checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "spec", _PACKAGE.parents[1] / "spec")


def specification() -> Path:
    """Return the directory with the pages of the specification."""
    return next(place for place in _PLACES if place.is_dir())


def load(name: str) -> list[Any]:
    """Return the cases of one file."""
    text = (specification() / "vectors" / f"{name}.json").read_text("utf-8")
    file: Any = json.loads(text)
    if file["version"] != 1:
        raise ValueError(f"{name}.json has version {file['version']}, not 1")
    cases: list[Any] = file["cases"]
    return cases


def to_bytes(parts: list[Any]) -> bytes:
    """Return the bytes that ``parts`` describe."""
    return b"".join(
        bytes.fromhex(part)
        if isinstance(part, str)
        else bytes.fromhex(part["repeat"]) * part["times"]
        for part in parts
    )


def to_messages(messages: list[Any]) -> list[bytes]:
    """Return the messages that a case expects."""
    found: list[bytes] = []
    for message in messages:
        if isinstance(message, dict):
            found += [bytes.fromhex(message["repeat_message"])] * message["times"]
        else:
            found.append(to_bytes(message))
    return found
