"""Which case checks which requirement of the specification.

``python tests/requirements.py`` writes the table in ``spec/conformance.md``, and
adds new ids to ``spec/ids.txt``. Cases name their requirements themselves: a
vector in ``covers``, a test in ``@pytest.mark.covers``.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ipc_channel.conformance.cases  # noqa: F401  # fills the catalogue
import vectors
from ipc_channel.conformance.case import CATALOGUE

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "spec" / "conformance.md"
REGISTER = ROOT / "spec" / "ids.txt"
VECTORS = ("frames", "ends", "rendezvous", "environment", "session")
_ROW = re.compile(r"^\| ([A-Z]{3}-\d+) \| (.*) \|$")
_OBLIGES = re.compile(r"\b(MUST|SHALL|REQUIRED)\b")
_ID = re.compile(r"\b(?:FRM|RDV|SES|ERR)-\d+\b")
_TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)
# What says how requirements are written, and which case checks which.
_ABOUT = {ROOT / "spec" / "README.md", PAGE}

Cases = list[tuple[str, list[str]]]


def requirements() -> dict[str, str]:
    """Return the text of each requirement by its id; fail if an id is used twice."""
    found: dict[str, str] = {}
    for page in pages():
        for line in page.read_text("utf-8").splitlines():
            if row := _ROW.match(line):
                number, text = row.groups()
                assert number not in found, f"{number} is there twice"
                found[number] = text
    return found


def pages() -> list[Path]:
    """Return the pages that may hold requirements."""
    return [page for page in sorted(ROOT.glob("spec/**/*.md")) if page not in _ABOUT]


def vector_cases() -> Cases:
    """Return each vector and the requirements it covers."""
    return [
        (f"{name}/{case['id']}", case["covers"])
        for name in VECTORS
        for case in vectors.load(name)
    ]


@functools.cache
def test_cases() -> Cases:
    """Return each test that is marked and runs, and the requirements it covers."""
    command = [sys.executable, "-c", "import requirements; requirements.collect()"]
    done = subprocess.run(
        command,
        cwd=ROOT / "tests",
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: Cases = json.loads(done.stdout.splitlines()[-1])
    return found


def collect() -> None:
    """Print what pytest finds: names of tests and what they cover."""
    import pytest  # noqa: PLC0415  # needed in this process only

    class Marks:
        def __init__(self) -> None:
            self.found: dict[str, list[str]] = {}

        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            for item in items:
                if item.get_closest_marker("skip") is not None:
                    continue
                name = f"{item.path.relative_to(ROOT / 'tests')}::{item.name.split('[')[0]}"
                for mark in item.iter_markers("covers"):
                    told = self.found.setdefault(name, [])
                    # An empty one is an id that does not exist.
                    told += [str(one) for one in mark.args or [""] if one not in told]

    marks = Marks()
    code = pytest.main(
        ["--collect-only", "-qq", "-p", "no:cacheprovider", "."], plugins=[marks]
    )
    print()
    print(json.dumps(sorted(marks.found.items())))
    raise SystemExit(code)


def problems() -> list[str]:
    """Return what is wrong: with requirements, cases or ids."""
    known = requirements()
    cited = {
        number for _, numbers in (*vector_cases(), *test_cases()) for number in numbers
    }
    return [
        *(f"no case checks {one}" for one in known if one not in cited),
        *(f"a case checks {one!r}, which does not exist" for one in cited - set(known)),
        *(f"{one} was given, and is gone" for one in set(registered()) - set(ids())),
        *(f"{one} is not in {REGISTER.name}" for one in set(ids()) - set(registered())),
        *problems_of_pages(set(known)),
    ]


def problems_of_pages(known: set[str]) -> Iterator[str]:
    """Yield obligations that have no id, and ids that do not exist."""
    for page in sorted(ROOT.glob("spec/**/*.md")):
        for line in page.read_text("utf-8").splitlines():
            if page not in _ABOUT and _OBLIGES.search(line) and not _ROW.match(line):
                yield f"{page.name} obliges without an id: {line}"
            for number in set(_ID.findall(line)) - known:
                yield f"{page.name} names {number}, which does not exist"


def ids() -> list[str]:
    """Return all ids of requirements, of vectors, and of cases of the conformance suite."""
    vectors_ = (case for case, _ in vector_cases())
    cases = dict.fromkeys(f"cases/{case.id}" for case in CATALOGUE)
    return [*requirements(), *vectors_, *cases]


def registered() -> list[str]:
    """Return all ids that were ever given."""
    return REGISTER.read_text("utf-8").split() if REGISTER.exists() else []


def table() -> str:
    """Return the lines of the table: each requirement and its cases."""
    lines = ["| id | checked by |", "|---|---|"]
    for number in requirements():
        lines.append(f"| {number} | {'; '.join(_cases_of(number)) or '—'} |")
    return "\n".join(lines) + "\n"


def _cases_of(number: str) -> Iterator[str]:
    for name in VECTORS:
        found = [
            case.partition("/")[2]
            for case, numbers in vector_cases()
            if number in numbers and case.startswith(f"{name}/")
        ]
        if found:
            more = f" and {len(found) - 3} more" if found[3:] else ""
            yield f"[{name}](vectors/{name}.json): {', '.join(found[:3])}{more}"
    for case, numbers in test_cases():
        if number in numbers:
            path, _, name = case.partition("::")
            yield f"[{name.removeprefix('test_')}](../tests/{path})"


def page_with_table() -> str:
    return _TABLE.sub(lambda _: table(), PAGE.read_text("utf-8"))


if __name__ == "__main__":
    new = [one for one in ids() if one not in registered()]
    REGISTER.write_text("".join(f"{one}\n" for one in [*registered(), *new]), "utf-8")
    PAGE.write_text(page_with_table(), "utf-8")
    raise SystemExit("\n".join(problems()) or 0)
