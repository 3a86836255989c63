"""Files of tests by subject, for sessions that run only some of them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def files_of(*names: str) -> list[str]:
    """Return the files with names that begin so, relative to the project.

    ``aio/close`` stands for ``tests/aio/test_close.py``, ``test_close_linger.py`` and so
    on, ``aio/`` for all of that folder. A name without a file is an error.
    """
    return [file for name in names for file in _files_of(name)]


def _files_of(name: str) -> list[str]:
    directory, _, begin = name.rpartition("/")
    found = sorted((ROOT / "tests" / directory).glob(f"test_{begin}*.py"))
    assert found, f"there are no tests of {name}"
    return [path.relative_to(ROOT).as_posix() for path in found]
