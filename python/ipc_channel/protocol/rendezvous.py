"""How a helper is told where its peer is (spec/rendezvous.md).

The server makes a rendezvous and tells the client two strings, always named
from the side of the end that holds them: it reads from ``in`` and writes to ``out``.
Each transport defines the form of its strings (``transports/registry.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Protocol

from ipc_channel.errors import BadRendezvousError

ENV_IN: Final = "IPC_CHANNEL_IN"
"""A helper reads from the rendezvous in this environment variable."""
ENV_OUT: Final = "IPC_CHANNEL_OUT"
"""A helper writes to the rendezvous in this environment variable."""

_SHOWN = 120  # characters of a string in an error


class Address(Protocol):
    """The address that two rendezvous strings name."""

    @property
    def transport(self) -> str:
        """The name of the transport."""


def from_environment(environ: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return ``(in_path, out_path)`` from ``environ``, by default ``os.environ``.

    Raises BadRendezvousError, which names the variable that is missing or empty.
    """
    if environ is None:
        environ = os.environ
    if not isinstance(environ, Mapping):
        kind = type(environ).__name__
        raise TypeError(f"environ is a mapping such as os.environ, not {kind}")
    for name in (ENV_IN, ENV_OUT):
        if not isinstance(value := environ.get(name, ""), str):
            raise TypeError(f"{name} is a str, not {type(value).__name__}")
        if not value:
            raise BadRendezvousError(
                f"environment variable {name} is missing or empty: this program is to be"
                " started by a service, which sets it (in Python, ipc_channel.Helper does);"
                f" to start it by hand, set {ENV_IN} to the server's out_path and"
                f" {ENV_OUT} to its in_path"
            )
    return environ[ENV_IN], environ[ENV_OUT]


def to_environment(peer_in: str, peer_out: str) -> dict[str, str]:
    """Return the variables that tell a helper where it reads and writes."""
    return {ENV_IN: peer_in, ENV_OUT: peer_out}


def check_strings(in_path: str, out_path: str) -> None:
    """Raise TypeError for anything but strings."""
    for name, value in (("in_path", in_path), ("out_path", out_path)):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise TypeError(f"{name} is a str, not {kind}{_hint(value)}")


def path_size(path: str) -> int:
    """Return the bytes of a path; raise BadRendezvousError if no file can have it."""
    if "\0" in path:
        raise refusal("a path has no NUL byte", path)
    try:
        return len(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise refusal(f"no file can have this name: {error.reason}", path) from None


def refusal(why: str, *values: str) -> BadRendezvousError:
    """Return the error for strings that can never work; its text contains them."""
    shown = " and ".join(
        repr(v if len(v) <= _SHOWN else v[: _SHOWN - 3] + "...") for v in values
    )
    return BadRendezvousError(f"bad rendezvous {shown}: {why}")


def _hint(value: object) -> str:
    """Return how to convert a path or bytes to the str that is required."""
    if isinstance(value, os.PathLike):
        return ": use os.fspath(path)"
    return ": use os.fsdecode(path)" if isinstance(value, bytes) else ""
