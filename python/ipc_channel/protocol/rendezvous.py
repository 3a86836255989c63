"""How two processes find each other (spec/rendezvous.md).

The server makes a rendezvous and tells the client two strings, always named
from the holder's side: it reads from ``in`` and writes to ``out``. A string
that starts with ``/`` is a named pipe, ``PORT``, ``HOST:PORT`` or
``[HOST]:PORT`` is loopback TCP. Everything else is reserved and refused.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ipc_channel.errors import BadRendezvousError

ENV_IN: Final = "IPC_CHANNEL_IN"
"""A helper reads from the rendezvous in this environment variable."""
ENV_OUT: Final = "IPC_CHANNEL_OUT"
"""A helper writes to the rendezvous in this environment variable."""

Transport = Literal["named_pipe", "tcp"]

_MAX_PATH = 4095  # bytes; PATH_MAX counts the final NUL
_TCP = re.compile(r"(?:(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):)?(?P<port>[0-9]+)")


@dataclass(frozen=True)
class PipeAddress:
    """Two named pipes, seen from the holder's side."""

    in_path: str
    out_path: str
    transport: Transport = "named_pipe"


@dataclass(frozen=True)
class TCPAddress:
    """A loopback address; ``host`` is an address literal."""

    host: str
    port: int
    transport: Transport = "tcp"


def default_transport() -> Transport:
    """Return the transport that ``make_ipc_channel`` picks on this platform.

    Named pipes on Linux. TCP elsewhere: macOS does not signal the end of a
    named pipe, and Windows has none of this kind.
    """
    return "named_pipe" if sys.platform == "linux" else "tcp"


def parse(in_path: str, out_path: str) -> PipeAddress | TCPAddress:
    """Return what two rendezvous strings lead to.

    Raises BadRendezvousError, whose text shows the refused string.
    """
    for name, value in (("in_path", in_path), ("out_path", out_path)):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise TypeError(f"{name} is a str, not {kind}{_hint(value)}")
    pipes = [path.startswith("/") for path in (in_path, out_path)]
    if any(pipes):
        if not all(pipes):
            raise _bad("one is a named pipe and the other is not", in_path, out_path)
        return _parse_pipes(in_path, out_path)
    if in_path != out_path:
        _parse_tcp(in_path)
        _parse_tcp(out_path)
        raise _bad("TCP has one string for both directions", in_path, out_path)
    return _parse_tcp(in_path)


def from_environment(environ: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return ``(in_path, out_path)`` as a helper is told them, by default in ours.

    Raises BadRendezvousError that names a variable which is missing or empty.
    """
    if environ is None:
        environ = os.environ
    if not isinstance(environ, Mapping):
        kind = type(environ).__name__
        raise TypeError(f"environ is a mapping such as os.environ, not {kind}")
    for name in (ENV_IN, ENV_OUT):
        if not environ.get(name):
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


def _hint(value: object) -> str:
    """Return what makes a str of something that is nearly one."""
    if isinstance(value, os.PathLike):
        return ": use os.fspath(path)"
    return ": use os.fsdecode(path)" if isinstance(value, bytes) else ""


def _bad(why: str, *values: str) -> BadRendezvousError:
    shown = " and ".join(repr(v if len(v) <= 120 else v[:117] + "...") for v in values)
    return BadRendezvousError(f"bad rendezvous {shown}: {why}")


def _parse_pipes(in_path: str, out_path: str) -> PipeAddress:
    for path in (in_path, out_path):
        if "\0" in path:
            raise _bad("a path has no NUL byte", path)
        try:
            size = len(os.fsencode(path))
        except UnicodeEncodeError as error:
            raise _bad(f"no file can have this name: {error.reason}", path) from None
        if size > _MAX_PATH:
            raise _bad(f"a path has at most {_MAX_PATH} bytes", path)
    if in_path == out_path:
        raise _bad("named pipes need two different paths", in_path)
    return PipeAddress(in_path, out_path)


def _parse_tcp(text: str) -> TCPAddress:
    match = _TCP.fullmatch(text)
    if match is None:
        raise _bad("neither /PATH nor PORT nor HOST:PORT nor [HOST]:PORT", text)
    digits = match["port"]
    if digits.startswith("0") or len(digits) > 5 or int(digits) > 65535:
        raise _bad("a port is 1 to 65535, without leading zeros", text)
    host = match["v6"] if match["v6"] is not None else match["host"]
    return TCPAddress("127.0.0.1" if host is None else _loopback(host, text), int(digits))


def _loopback(host: str, text: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    if host == "::1" and text.startswith("["):
        return host
    try:
        if ipaddress.IPv4Address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise _bad("the host is neither localhost nor 127.x.x.x nor [::1]", text)


def check_named_pipes_exist() -> None:
    """Raise BadRendezvousError on a platform without POSIX named pipes."""
    if not hasattr(os, "mkfifo"):
        raise BadRendezvousError(f"{sys.platform} has no POSIX named pipes; use TCP")
