"""Which case checks which requirement of the specification.

``python tests/requirements.py`` writes the table in ``spec/conformance.md``.
Cases name their requirements themselves: a vector in ``covers``, a test in
``@pytest.mark.covers``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import vectors

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "spec" / "conformance.md"
VECTORS = ("frames", "ends", "rendezvous", "environment")
_ROW = re.compile(r"^\| ([A-Z]{3}-\d+) \| (.*) \|$", re.MULTILINE)
_TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def requirements() -> dict[str, str]:
    """Return the text of each requirement by its id; fail if an id is used twice."""
    found: dict[str, str] = {}
    for page in sorted(ROOT.glob("spec/*.md")):
        if page == PAGE:
            continue
        for number, text in _ROW.findall(page.read_text("utf-8")):
            assert number not in found, f"{number} is there twice"
            found[number] = text
    return found


def is_must(text: str) -> bool:
    return "MUST" in text


def vector_cases() -> Iterator[tuple[str, list[str]]]:
    """Yield each vector and the requirements it covers."""
    for name in VECTORS:
        for case in vectors.load(name):
            yield f"{name}/{case['id']}", case["covers"]


def test_cases() -> Iterator[tuple[str, list[str]]]:
    """Yield each test that is marked, and the requirements it covers."""
    for path in sorted((ROOT / "tests").glob("**/test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if covered := _covered(node):
                yield f"{path.relative_to(ROOT / 'tests')}::{node.name}", covered


def _covered(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [
        argument.value
        for mark in test.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.covers"
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def problems() -> list[str]:
    """Return what is wrong: requirements without a case, cases of no requirement."""
    known = requirements()
    cited = {
        number for _, numbers in (*vector_cases(), *test_cases()) for number in numbers
    }
    missing = [number for number in known if is_must(known[number]) and number not in cited]
    return [f"no case checks {number}" for number in missing] + [
        f"a case checks {number}, which does not exist"
        for number in sorted(cited - set(known))
    ]


def table() -> str:
    """Return the lines of the table: each requirement and its cases."""
    lines = ["| id | checked by |", "|---|---|"]
    for number in requirements():
        lines.append(f"| {number} | {'; '.join(_cases_of(number)) or '—'} |")
    return "\n".join(lines) + "\n"


def _cases_of(number: str) -> Iterator[str]:
    for name in VECTORS:
        ids = [
            case.partition("/")[2]
            for case, numbers in vector_cases()
            if number in numbers and case.startswith(f"{name}/")
        ]
        if ids:
            shown = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if ids[3:] else "")
            yield f"[{name}](vectors/{name}.json): {shown}"
    for case, numbers in test_cases():
        if number in numbers:
            path, _, name = case.partition("::")
            yield f"[{name.removeprefix('test_')}](../tests/{path})"


def page_with_table() -> str:
    return _TABLE.sub(lambda _: table(), PAGE.read_text("utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page_with_table(), "utf-8")
    raise SystemExit("\n".join(problems()))
