"""The options of channels and clients, and their checks."""

from __future__ import annotations

import asyncio
import difflib
import logging
import stat
import sys
from collections.abc import Iterable
from typing import Any, TypedDict

from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE, check_max_message_size
from ipc_channel.users import User
from ipc_channel.windows.accounts import sid_of

DEFAULT_LINGER = 1.0
"""Seconds that ``close`` waits for a peer that does not read."""

_NO_USER = 2**32 - 1  # not a user id: to system calls it means "no change"
_ALL_PERMISSIONS = 0o777
LONGEST = 10**9  # seconds: in effect without limit, and accepted by all event loops

default_logger = logging.getLogger("ipc_channel")


def check_seconds(name: str, value: float) -> float:
    """Return ``value``, or raise ValueError or TypeError if it is not a duration."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise TypeError(f"{name} is a number of seconds, an int or a float, not {kind}")
    if not 0 <= value <= LONGEST:
        raise ValueError(f"{name} is {value}, not within 0 and {LONGEST} seconds")
    return value


def check_flag(name: str, value: bool) -> bool:
    """Return ``value``, or raise TypeError if it is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {type(value).__name__}")
    return value


def check_int(name: str, value: int, what: str) -> int:
    """Return ``value``, or raise TypeError, which says what it is, if it is no int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {what}, an int, not {type(value).__name__}")
    return value


def check_count(name: str, value: int, least: int = 1) -> int:
    """Return ``value``; raise TypeError or ValueError if it is no number from ``least`` on."""
    check_int(name, value, "a number")
    if value < least:
        raise ValueError(f"{name} is {value}, but must be at least {least}")
    return value


class Options(TypedDict, total=False):
    """Keyword options of every channel and client."""

    max_message_size: int
    """Largest message in bytes, in both directions; 64 MiB unless given."""
    linger: float
    """Seconds that ``close`` waits for a peer that does not read; 1 unless given."""


def check_options(options: Options) -> Options:
    """Return all options, with defaults; raise ValueError or TypeError for a wrong one."""
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
    """Return a hint at what the caller may have meant by an unknown option."""
    of_servers = ["transport", "allowed_users", "path", "mode", "systemd"]
    known = [*Options.__annotations__, "logger", "loop", *of_servers]
    if name == "timeout":
        return "; connect takes a timeout"
    if near := difflib.get_close_matches(name, known, 1):
        return f"; did you mean {near[0]!r}?"
    others = ", ".join(known[: -len(of_servers)])
    return f"; there are {others}, and for servers {', '.join(of_servers)}"


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
    """Return ``loop``, or raise TypeError if it is not an event loop."""
    if loop is not None and not isinstance(loop, asyncio.AbstractEventLoop):
        kind = type(loop).__name__
        raise TypeError(
            f"loop is an event loop, not {kind}; leave it out for the running one"
        )
    return loop


def check_users(users: Any) -> frozenset[User]:
    """Return the ids of ``users``, which are ids or names; on Windows SIDs or names.

    Raises TypeError for anything else, and ValueError for an id out of range or a name
    that this system does not know.
    """
    found = tuple(users) if isinstance(users, Iterable) else (None,)
    if isinstance(users, str | bytes) or not all(
        type(user) in (int, str) for user in found
    ):
        raise TypeError(
            "allowed_users is a collection of user ids or names, such as [1000] or"
            f" ['www-data'], not {users!r}"
        )
    return frozenset(map(_user_id, found))


def _user_id(user: int | str) -> User:
    if isinstance(user, str):
        found = _user_named(user)
        if found is None:
            raise ValueError(f"allowed_users has {user!r}, which is no user of this system")
        return found
    if sys.platform == "win32":
        raise ValueError(
            f"allowed_users has {user}; on Windows a user is a SID, such as"
            " 'S-1-5-21-…-1001', or the name of an account"
        )
    if not 0 <= user < _NO_USER:
        raise ValueError(f"allowed_users has {user}, not within 0 and {_NO_USER - 1}")
    return user


def _user_named(name: str) -> User | None:
    """Return the user with this name, or this SID on Windows; None if there is none."""
    if sys.platform == "win32":
        return sid_of(name)
    import pwd  # noqa: PLC0415  # Windows has none

    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def check_mode(mode: Any) -> int:
    """Return the permissions of a socket file, or raise TypeError or ValueError."""
    if isinstance(mode, bool) or not isinstance(mode, int):
        raise TypeError(f"mode is an int such as 0o660, not {type(mode).__name__}")
    if not 0 <= mode <= _ALL_PERMISSIONS:
        raise ValueError(f"mode is {mode:#o}, not within 0 and {_ALL_PERMISSIONS:#o}")
    if not mode & stat.S_IWUSR:
        raise ValueError(
            f"mode is {mode:#o}, with which this user itself cannot connect; add 0o600"
        )
    return mode


def check_systemd(systemd: Any) -> bool | str:
    """Return whether, or by which name, to use a socket of systemd's, or raise."""
    if not isinstance(systemd, bool | str):
        kind = type(systemd).__name__
        raise TypeError(f"systemd is True or the name of a socket, not {kind}")
    if systemd == "":
        raise ValueError(
            "systemd is '', not the name of a socket; use True for the only one"
        )
    return systemd
