"""Names of a package that are imported when they are used first.

Python takes some milliseconds for each module. A helper has to start fast, and needs
neither what starts helpers nor requests.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def deferred(
    package: str, places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of ``package`` (PEP 562).

    ``places`` has the names, each with its module in ``ipc_channel``.
    """
    known = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        known[name] = getattr(importlib.import_module(f"ipc_channel.{places[name]}"), name)
        return known[name]

    def names() -> list[str]:
        return sorted({*known, *places})

    return get, names
