"""Limits what ``dir`` and ``help`` show of the public classes."""

from __future__ import annotations

import enum
from abc import ABCMeta

_KEPT = frozenset({"__init__", "__aenter__", "__aexit__", "__aiter__", "__anext__"})


class OwnNames(ABCMeta):
    """Metaclass of a class whose ``dir`` lists the public names of this package only.

    The standard library's ``EnumType`` does the same. Without this, most of
    ``help(ipc_channel)`` would list what the errors inherit from the built-in
    exceptions. Instances are not affected.
    """

    def __dir__(cls) -> list[str]:
        package = __name__.partition(".")[0]
        ours = (base for base in cls.__mro__ if base.__module__.startswith(package))
        names = {name for base in ours for name in vars(base)}
        return sorted(name for name in names if not name.startswith("_") or name in _KEPT)


class MembersOnly(enum.EnumMeta):
    """Metaclass of an enumeration of strings whose ``dir`` lists its members only."""

    def __dir__(cls) -> list[str]:
        return list(cls.__members__)
