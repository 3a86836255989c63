"""Which user ids are our own (spec/security.md).

In a user namespace that maps some ids only, the kernel shows every other user as
the overflow user, 65534 by default. That number then stands for strangers as well
as, perhaps, for a user of the namespace, so it never proves who somebody is.
"""

from __future__ import annotations

import os

_ALL_USERS = 2**32 - 1  # how many ids the initial namespace maps: all but "no user"


def is_our_user(user: int) -> bool:
    """Whether ``user`` is for certain the effective user of this process."""
    return why_not_ours(user) is None


def why_not_ours(user: int) -> str | None:
    """Say why something that belongs to ``user`` is not ours; None if it is."""
    if user != os.geteuid():
        return f"belongs to user {user}, not {os.geteuid()}"
    if is_ambiguous(user):
        return (
            f"belongs to user {user}, which here stands for every user that this"
            " user namespace does not map; run as a user that it maps"
        )
    return None


def is_ambiguous(user: int) -> bool:
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


# Asked once: later there may be no descriptor left for it.
_OVERFLOW_USER = int(_read("/proc/sys/kernel/overflowuid") or 65534)
