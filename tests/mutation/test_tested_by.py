"""The mutants of every module meet tests that exist."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mutation import tested_by
from named_tests import files_of


@pytest.mark.parametrize("module", sorted(tested_by.TESTS))
def test_what_covers_a_module_exists(module: str) -> None:
    assert tested_by.source_of(module).stem == module.rpartition("/")[2]
    assert files_of(*tested_by.TESTS[module])


def test_every_module_is_covered() -> None:
    files = (path for path in tested_by.modules() if path.stem != "__init__")
    known = set(map(tested_by.name_of, files))
    assert known == set(tested_by.TESTS)
    assert set(tested_by.TESTS) >= tested_by.ON_UVLOOP


def test_what_is_explained_is_still_there() -> None:
    explained = tomllib.loads(Path(__file__).with_name("survivors.toml").read_text("utf-8"))
    gone = [
        (module, one["before"])
        for module, entries in explained.items()
        if module != "every_module"
        for one in entries
        if one["before"] not in lines_of(module)
    ]
    assert gone == []


def lines_of(module: str) -> set[str]:
    return {
        line.strip() for line in tested_by.source_of(module).read_text("utf-8").splitlines()
    }
