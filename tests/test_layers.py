"""Imports of the package point one way, and no file is too long to be read."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import ipc_channel

PACKAGE = Path(ipc_channel.__file__).parent
# Each layer may import itself, and what stands before it. Modules of the package's own
# folder are layers too.
LAYERS = (
    ("introspection",),
    ("errors",),
    ("closed", "codec"),
    ("windows",),
    ("fork", "log", "service_signals", "users"),
    ("channel",),
    ("protocol",),
    ("options",),
    ("aio",),
    ("transports",),
    ("factory",),
    ("helper_side", "helper_main"),
    ("helper",),
    ("pool",),
    ("sync",),
    ("__init__",),
    ("conformance",),
    ("cli",),
)
LONGEST = 300  # lines
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if "skeletons" not in path.parts
}

TESTS = Path(__file__).parent
FILES = {  # none of which is too long to be read
    **{f"ipc_channel.{module}": path for module, path in MODULES.items()},
    **{str(path.relative_to(TESTS.parent)): path for path in TESTS.rglob("*.py")},
}


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def imports(module: str) -> Iterator[str]:
    """Yield the modules that a module imports when it runs."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            parts = node.module.split(".")
            if parts[0] != "ipc_channel" or node.lineno in lines_for_types(module):
                continue
            for alias in node.names:
                full = ".".join([*parts[1:], alias.name])
                package = ".".join([*parts[1:], "__init__"])
                own = ".".join(parts[1:])
                yield full if full in MODULES else own if own in MODULES else package


@functools.cache
def lines_for_types(module: str) -> set[int]:
    return {
        inner.lineno
        for block in ast.walk(tree_of(module))
        if isinstance(block, ast.If)
        and isinstance(block.test, ast.Name)
        and block.test.id == "TYPE_CHECKING"
        for inner in block.body
    }


def layer(module: str) -> int:
    first = module.split(".", maxsplit=1)[0]
    return next(number for number, names in enumerate(LAYERS) if first in names)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module: str) -> None:
    for imported in imports(module):
        assert layer(imported) <= layer(module), f"{module} imports {imported}"


def test_there_is_no_import_circle() -> None:
    open_: list[str] = []
    done: set[str] = set()

    def visit(module: str) -> None:
        if module in done:
            return
        assert module not in open_, f"a circle: {[*open_, module]}"
        open_.append(module)
        for imported in imports(module):
            if imported != module:
                visit(imported)
        done.add(open_.pop())

    for module in MODULES:
        visit(module)


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_is_too_long(name: str) -> None:
    count = len(FILES[name].read_text("utf-8").splitlines())
    assert count <= LONGEST, f"{name} has {count} lines"
