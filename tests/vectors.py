"""Reads the test vectors of the specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[1] / "spec" / "vectors"


def load(name: str) -> list[Any]:
    """Return the cases of one vector file."""
    file: Any = json.loads((DIRECTORY / f"{name}.json").read_text("utf-8"))
    assert file["version"] == 1
    cases: list[Any] = file["cases"]
    assert cases
    return cases


def to_bytes(parts: list[Any]) -> bytes:
    """Return the byte string that ``parts`` stand for."""
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
