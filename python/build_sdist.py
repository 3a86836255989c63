"""Build hook of the sdist (hatchling): it is to hold the package and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SdistHook(BuildHookInterface[Any]):
    """Leaves out ``.gitignore``, which hatchling puts into each sdist unasked."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        forced = build_data["force_include"]
        for path in [path for path in forced if Path(path).name == ".gitignore"]:
            del forced[path]
