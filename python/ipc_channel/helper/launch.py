"""What a helper is started as: its user, groups, resource limits and nice value."""

from __future__ import annotations

import difflib
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipc_channel.options import check_int

if sys.platform != "win32":
    import grp
    import pwd
    import resource

    from ipc_channel.helper.spawn import locate

_LIMIT = "RLIMIT_"
_LARGEST_ID = 2**32 - 2  # the next one means "leave it as it is"
_HIGHEST_LIMIT = 2**63 - 1
_MOST_NICE, _LEAST_NICE = 19, -20


class Launch:
    """The checked options, and the command that starts a program with them.

    Names are looked up, and rights checked, at once: the launcher could only print errors.
    """

    def __init__(
        self,
        *,
        user: str | int | None = None,
        group: str | int | None = None,
        limits: Mapping[str, int | tuple[int, int]] | None = None,
        nice: int | None = None,
    ) -> None:
        self.nice = _check_nice(nice)
        if sys.platform == "win32":
            _refuse_on_windows(user=user, group=group, limits=limits)
            self.user: int | None = None
            self._steps: list[str] = []
        else:
            self._limits = dict(_check_limits(limits))
            self.user, self._gid, self._groups = _identity(user, group)
            self._steps = list(self._plan())
        if self._steps and (not sys.executable or getattr(sys, "frozen", False)):
            raise ValueError(
                "user, group, limits and nice need a Python interpreter, and this program"
                " has none in sys.executable: leave them out"
            )

    def command(
        self, words: Sequence[str], env: Mapping[str, str], cwd: str | None
    ) -> tuple[list[str], str | None]:
        """Return the command and the directory with which to start ``words``.

        Raises the OSError of a program that cannot be started, as far as it can be told.
        """
        if not self._steps:
            return list(words), cwd
        program, directory = locate(words, env, cwd)
        steps = [f"locale={env.get('LC_CTYPE', '')}", *self._steps]
        if directory is not None:
            steps.append(f"cwd={directory}")
        source = pkgutil.get_data(__package__, "launcher.py")
        assert source is not None
        python = [sys.executable, "-I", "-S", "-X", "utf8", "-c", source.decode()]
        return [*python, *steps, "--", program, *words], None

    def _plan(self) -> Iterator[str]:
        """Yield the steps; those that need the rights of root come before it loses them."""
        if self.nice:
            yield f"nice={self.nice}"
        for name, (soft, hard) in self._limits.items():
            yield f"limit={name}:{soft}:{hard}"
        if self._groups is not None:
            yield f"groups={','.join(map(str, self._groups))}"
        if self._gid is not None:
            yield f"gid={self._gid}"
        if self.user is not None:
            yield f"uid={self.user}"


def _refuse_on_windows(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} is for POSIX systems, not for Windows: leave it out")


def _check_nice(nice: Any) -> int:
    """Return the increment; raise TypeError, ValueError or PermissionError."""
    if nice is None:
        return 0
    check_int("nice", nice, "an increment of the nice value")
    if not _LEAST_NICE <= nice <= _MOST_NICE:
        raise ValueError(f"nice is {nice}, not within {_LEAST_NICE} and {_MOST_NICE}")
    if nice < 0 and sys.platform != "win32" and not _may_be_nicer(nice):
        raise PermissionError(
            f"nice is {nice}, and only root may lower the nice value: leave it out, or"
            " start the service as root"
        )
    return int(nice)


def _may_be_nicer(nice: int) -> bool:
    if os.geteuid() == 0:
        return True
    wanted = max(os.getpriority(os.PRIO_PROCESS, 0) + nice, _LEAST_NICE)
    limit = getattr(resource, "RLIMIT_NICE", None)  # which Linux has
    return limit is not None and 20 - wanted <= resource.getrlimit(limit)[0]


def _check_limits(limits: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the name and both values of each limit; raise TypeError, ValueError, ..."""
    if not isinstance(limits, Mapping | None):
        kind = type(limits).__name__
        raise TypeError(
            f'limits is a mapping of names to numbers, such as {{"NOFILE": 100}}, not {kind}'
        )
    for name, value in (limits or {}).items():
        number = _limit_of(name)
        both = value if isinstance(value, tuple) else (value, value)
        if len(both) != 2:
            raise ValueError(f"limits[{name!r}] is {value!r}, not a number or (soft, hard)")
        for one in both:
            check_int(f"limits[{name!r}]", one, "a number, or (soft, hard)")
        _check_range(name, number, *both)
        yield name, both


def _limit_of(name: Any) -> int:
    """Return the number of a limit; raise TypeError or ValueError for an unknown one."""
    if not isinstance(name, str):
        raise TypeError(f"limits has {name!r} as a name, which is not a str")
    known = [one.removeprefix(_LIMIT) for one in dir(resource) if one.startswith(_LIMIT)]
    if name not in known:
        near = difflib.get_close_matches(name.upper().removeprefix(_LIMIT), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"limits has {name!r}, which this system does not have; {hint}")
    return int(getattr(resource, _LIMIT + name))


def _check_range(name: str, number: int, soft: int, hard: int) -> None:
    for value in (soft, hard):
        if value < 0 and value != resource.RLIM_INFINITY:
            raise ValueError(
                f"limits[{name!r}] is {value}, less than 0; resource.RLIM_INFINITY stands"
                " for no limit"
            )
        if value > _HIGHEST_LIMIT:
            raise ValueError(
                f"limits[{name!r}] is {value}, more than {_HIGHEST_LIMIT};"
                " resource.RLIM_INFINITY stands for no limit"
            )
    if _exceeds(soft, hard):
        raise ValueError(f"limits[{name!r}]: soft {soft} exceeds hard {hard}")
    ours = resource.getrlimit(number)[1]
    if _exceeds(hard, ours) and os.geteuid() != 0:
        raise PermissionError(
            f"limits[{name!r}]: {hard} exceeds the hard limit of this service, {ours}, which"
            " only root may raise"
        )


def _exceeds(limit: int, other: int) -> bool:
    infinite = resource.RLIM_INFINITY
    return other != infinite and (limit == infinite or limit > other)


def _identity(user: Any, group: Any) -> tuple[int | None, int | None, list[int] | None]:
    """Return user, group and supplementary groups to change to; None to keep one."""
    uid, entry = _find_user(user)
    gid = _find_group(group)
    if uid is None and gid is None:
        return None, None, None
    if os.geteuid() != 0:
        if uid in (None, os.geteuid()) and gid in (None, os.getegid()):
            return None, None, None
        raise PermissionError(
            f"only root may start a helper as another user or group (user={user!r},"
            f" group={group!r}): leave them out, or start the service as root"
        )
    if uid is None:
        return None, gid, None
    if gid is None:
        if entry is None:
            raise ValueError(
                f"user {uid} has no entry in the user database: give group too"
            )
        gid = entry.pw_gid
    groups = [gid] if entry is None else os.getgrouplist(entry.pw_name, gid)
    return uid, gid, groups


def _find_user(user: Any) -> tuple[int | None, Any]:
    """Return the number of a user and its entry in the database, which may be None."""
    if user is None:
        return None, None
    _check_name("user", user)
    try:
        entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        return _number("user", user), None
    return entry.pw_uid, entry


def _find_group(group: Any) -> int | None:
    if group is None:
        return None
    _check_name("group", group)
    try:
        return grp.getgrnam(group).gr_gid if isinstance(group, str) else int(group)
    except KeyError:
        return _number("group", group)


def _number(name: str, value: str | int) -> int:
    """Return a number that has no entry; raise ValueError for a name that has none."""
    if isinstance(value, int):
        return value
    raise ValueError(f"{name} is {value!r}, which is no {name} of this machine")


def _check_name(name: str, value: Any) -> None:
    if isinstance(value, str):
        return
    check_int(name, value, f"the name or the number of a {name}")
    if not 0 <= value <= _LARGEST_ID:
        raise ValueError(f"{name} is {value}, not within 0 and {_LARGEST_ID}")
