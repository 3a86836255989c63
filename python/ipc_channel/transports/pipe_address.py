"""The rendezvous strings of named pipes (spec/rendezvous.md, "Strings")."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from ipc_channel.errors import BadRendezvousError
from ipc_channel.protocol.rendezvous import path_size, refusal

_MAX_PATH = 4095  # bytes; PATH_MAX counts the final NUL


@dataclass(frozen=True)
class PipeAddress:
    """Two named pipes, seen from the holder's side."""

    in_path: str
    out_path: str
    transport: str = "named_pipe"


def recognises(text: str) -> bool:
    return text.startswith("/")


def parse(in_path: str, out_path: str) -> PipeAddress:
    """Return the address that two paths name; raise BadRendezvousError if invalid."""
    for path in (in_path, out_path):
        if not recognises(path):
            raise refusal("not a named pipe, whose path starts with /", path)
        _check_path(path)
    if in_path == out_path:
        raise refusal("named pipes need two different paths", in_path)
    return PipeAddress(in_path, out_path)


def _check_path(path: str) -> None:
    if path_size(path) > _MAX_PATH:
        raise refusal(f"a path has at most {_MAX_PATH} bytes", path)


def check_named_pipes_exist() -> None:
    """Raise BadRendezvousError on a platform without POSIX named pipes."""
    if not hasattr(os, "mkfifo"):
        raise BadRendezvousError(f"{sys.platform} has no POSIX named pipes; use TCP")
