"""The options of channels and clients, and their checks."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Iterable
from typing import Any, TypedDict

from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE, check_max_message_size

DEFAULT_LINGER = 1.0
"""Seconds that ``close`` waits for a peer that does not read."""

_NO_USER = 2**32 - 1  # which system calls take for "leave it as it is"
_LONGEST = 10**9  # seconds: no wait, but a number that loops and selectors take

default_logger = logging.getLogger("ipc_channel")


def check_seconds(name: str, value: float) -> float:
    """Return ``value``, or raise ValueError or TypeError if it is no duration."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise TypeError(f"{name} is a number of seconds, an int or a float, not {kind}")
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{name} is {value}, not within 0 and {_LONGEST} seconds")
    return value


class Options(TypedDict, total=False):
    """Keyword options of every channel and client."""

    max_message_size: int
    """Largest message in bytes, in both directions; 64 MiB unless given."""
    linger: float
    """Seconds that ``close`` waits for a peer that does not read; 1 unless given."""


def check_options(options: Options) -> Options:
    """Return all options, with defaults; raise ValueError or TypeError if one is wrong."""
    for name in options:
        if name not in Options.__annotations__:
            raise TypeError(f"there is no option {name!r}{_advice(name)}")
    size = options.get("max_message_size", DEFAULT_MAX_MESSAGE_SIZE)
    linger = options.get("linger", DEFAULT_LINGER)
    return {
        "max_message_size": check_max_message_size(size),
        "linger": check_seconds("linger", linger),
    }


def _advice(name: str) -> str:
    """Return what the caller may have meant by an option that does not exist."""
    known = [*Options.__annotations__, "logger", "loop", "transport", "allowed_users"]
    if name == "timeout":
        return "; connect takes a timeout"
    if near := difflib.get_close_matches(name, known, 1):
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(known[:-2])}, and for servers transport, allowed_users"


def check_logger(logger: logging.Logger) -> logging.Logger:
    """Return ``logger``, or raise TypeError if it cannot log."""
    if not callable(getattr(logger, "warning", None)):
        kind = type(logger).__name__
        hint = "; use logging.getLogger(name)" if isinstance(logger, str) else ""
        raise TypeError(f"logger is a logging.Logger, not {kind}{hint}")
    return logger


def check_loop_argument(
    loop: asyncio.AbstractEventLoop | None,
) -> asyncio.AbstractEventLoop | None:
    """Return ``loop``, or raise TypeError if it is none."""
    if loop is not None and not isinstance(loop, asyncio.AbstractEventLoop):
        kind = type(loop).__name__
        raise TypeError(
            f"loop is an event loop, not {kind}; leave it out for the running one"
        )
    return loop


def check_users(users: Any) -> frozenset[int]:
    """Return ``users``, or raise TypeError or ValueError unless they are user ids."""
    found = tuple(users) if isinstance(users, Iterable) else (None,)
    if isinstance(users, str | bytes) or not all(type(user) is int for user in found):
        raise TypeError(
            f"allowed_users is a collection of user ids, such as [1000], not {users!r};"
            " pwd.getpwnam(name).pw_uid is the id of a name"
        )
    for user in found:
        if not 0 <= user < _NO_USER:
            raise ValueError(f"allowed_users has {user}, not within 0 and {_NO_USER - 1}")
    return frozenset(found)
