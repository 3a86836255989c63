"""What a pool makes its helpers of."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Sequence

from ipc_channel.helper.helper import Helper

Command = Sequence[str | os.PathLike[str]]
Maker = Callable[[], Helper]


def maker_of(helper: Command | Maker) -> Maker:
    """Return a function that makes a new helper; raise TypeError if that is not possible."""
    if isinstance(helper, Sequence) and not isinstance(helper, str | bytes):
        return functools.partial(Helper, helper)
    if callable(helper) and not isinstance(helper, Sequence):
        return functools.partial(_make, helper, weakref.WeakSet())
    raise TypeError(
        "a helper of a pool is a command, such as ['./helper'], or a function that returns a"
        f" Helper, not {type(helper).__name__}"
    )


def _make(make: Maker, made: weakref.WeakSet[Helper]) -> Helper:
    """Return a helper that was not made before."""
    helper = make()
    if not isinstance(helper, Helper):
        kind = f"{type(helper).__module__}.{type(helper).__qualname__}"
        raise TypeError(
            "a function that makes helpers for a pool returns a new ipc_channel.Helper,"
            f" not {kind}"
        )
    if helper in made:
        raise TypeError(
            "a function that makes helpers for a pool has to return a new Helper each time: make"
            " it within the function"
        )
    made.add(helper)
    return helper
