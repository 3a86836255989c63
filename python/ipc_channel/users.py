"""Whether a user is certain to be our own (spec/security.md).

On POSIX a user is an id, on Windows a SID, such as "S-1-5-21-…-1001". In a user namespace
that maps only some ids, the kernel shows every other user as the overflow user, 65534 by
default. That id then stands for users outside the namespace, and may also be a user of the
namespace, so it never identifies a user.
"""

from __future__ import annotations

import os
import sys

from ipc_channel.windows.accounts import own_sid

User = int | str
"""A user id, or the text of a SID on Windows."""

Owner = User | None
"""The user who holds a socket; None if no process does, or the system cannot tell."""

_ALL_USERS = 2**32 - 1  # how many ids the initial namespace maps: all but "no user"


def our_user() -> User:
    """Return the effective user of this process.

    Looked up each time: a service may give up its rights after its start.
    """
    if sys.platform == "win32":
        return own_sid()
    return os.geteuid()


def is_our_user(user: int) -> bool:
    """Whether ``user`` is for certain the effective user of this process."""
    return why_not_ours(user) is None


def why_not_ours(user: int) -> str | None:
    """Say why something that belongs to ``user`` is not ours; None if it is."""
    if user != our_user():
        return f"belongs to user {user}, not {our_user()}"
    if is_ambiguous(user):
        return (
            f"belongs to user {user}, which here stands for every user that this"
            " user namespace does not map; run as a user that it maps"
        )
    return None


def is_allowed(owner: Owner, allowed_users: frozenset[User]) -> bool:
    """Whether ``owner`` is our effective user, or one of ``allowed_users``."""
    is_known = owner == our_user() or owner in allowed_users
    return owner is not None and is_known and not is_ambiguous(owner)


def is_ambiguous(user: User) -> bool:
    """Whether ``user`` may stand for any user that this namespace does not map."""
    return user == _OVERFLOW_USER and not _maps_all_users()


def _maps_all_users() -> bool:
    user_map = _read("/proc/self/uid_map")
    if user_map is None:  # no user namespaces here, and no overflow user
        return True
    return sum(int(line.split()[2]) for line in user_map.splitlines()) >= _ALL_USERS


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


# Read once at import: later no descriptor may be free.
_OVERFLOW_USER = int(_read("/proc/sys/kernel/overflowuid") or 65534)
