"""Which case checks which requirement of the specification.

``python tests/requirements.py`` writes the table in ``spec/conformance.md``, and
adds new ids to ``spec/ids.txt``. Cases name their requirements themselves: a
vector in ``covers``, a conformance case in its decorator, a Python test in
``@pytest.mark.covers``, a test in Go or Node in a comment right above it::

    // Covers SES-10, SES-11.

A test of the clients that checks nothing of the specification says what it is for
instead: ``// Beyond the specification: ...``
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
VECTORS = ("frames", "ends", "rendezvous", "environment", "session", "requests")
_ROW = re.compile(r"^\| ([A-Z]{3}-\d+) \| (.*) \|$")
_OBLIGES = re.compile(r"\b(MUST|SHALL|REQUIRED)\b")
_ID = re.compile(r"\b(?:FRM|RDV|SES|REQ|ERR)-\d+\b")
_TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)
# What says how requirements are written, and which case checks which.
_ABOUT = {ROOT / "spec" / "README.md", PAGE}

_CLIENT_TESTS = {  # where tests of the clients are, and how one begins
    "go-client/**/*_test.go": re.compile(r"^func (Test\w+)\(", re.MULTILINE),
    "js-client/test/*.test.js": re.compile(
        r"^ *(?:it|test)\(\s*(?:(['\"`])(.*?)\1|([^,]+)),", re.MULTILINE
    ),
}
_COVERS = re.compile(r"^\s*// Covers ((?:[A-Z]{3}-\d+(?:, )?)+)\.$")
_BEYOND = re.compile(r"^\s*// Beyond the specification: ")
_SHOWN = 3  # of the cases of one kind, so that a row stays readable

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


def suite_cases() -> Cases:
    """Return each conformance case, which may run over several transports, by its id."""
    found: dict[str, list[str]] = {}
    for case in CATALOGUE:
        told = found.setdefault(case.id, [])
        told += [one for one in case.covers if one not in told]
    return list(found.items())


@functools.cache
def client_cases() -> Cases:
    """Return each test in Go and Node, as path and name, and what it covers."""
    return [(name, covered) for name, covered in client_tests() if covered is not None]


def client_tests() -> Iterator[tuple[str, list[str] | None]]:
    """Yield each test in Go and Node; with None if it does not say what it covers."""
    for pattern, beginning in _CLIENT_TESTS.items():
        for path in sorted(ROOT.glob(pattern)):
            if "node_modules" not in path.parts:
                where = path.relative_to(ROOT).as_posix()
                for name, covered in _tests_of(path.read_text("utf-8"), beginning):
                    yield f"{where}::{name}", covered


def _tests_of(
    text: str, beginning: re.Pattern[str]
) -> Iterator[tuple[str, list[str] | None]]:
    for match in beginning.finditer(text):
        name = match[match.lastindex or 0]
        covered: list[str] | None = None
        for line in reversed(text[: match.start()].rstrip("\n").splitlines()):
            if not line.lstrip().startswith(("//", "*", "/*")):
                break
            if told := _COVERS.match(line):
                covered = told[1].split(", ")
            elif _BEYOND.match(line):
                covered = []
        yield name, covered


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
        number
        for cases in (vector_cases(), suite_cases(), test_cases(), client_cases())
        for _, numbers in cases
        for number in numbers
    }
    return [
        *(f"no case checks {one}" for one in known if one not in cited),
        *(f"a case checks {one!r}, which does not exist" for one in cited - set(known)),
        *(
            f"{one} was given, and is gone"
            for one in set(registered()) - set(ids()) - retired()
        ),
        *(f"{one} is retired, and in use" for one in retired() & set(ids())),
        *(f"{one} is not in {REGISTER.name}" for one in set(ids()) - set(registered())),
        *(
            f"{one} does not say what it covers"
            for one, told in client_tests()
            if told is None
        ),
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
    return [line.split()[0] for line in _lines()]


def retired() -> set[str]:
    """Return the ids that are in use no more; the register says why."""
    return {line.split()[0] for line in _lines() if len(line.split()) > 1}


def _lines() -> list[str]:
    return REGISTER.read_text("utf-8").splitlines() if REGISTER.exists() else []


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
            yield f"[{name}](vectors/{name}.json): {_some(found)}"
    if found := [case for case, numbers in suite_cases() if number in numbers]:
        yield f"suite: {_some(found)}"
    yield from _named("Python", _links("../tests/", test_cases(), number))
    for kind, folder in (("Go", "go-client/"), ("Node", "js-client/")):
        own = [one for one in client_cases() if one[0].startswith(folder)]
        yield from _named(kind, _links("../", own, number))


def _links(prefix: str, cases: Cases, number: str) -> list[str]:
    """Return links to those of ``cases`` that cover the requirement."""
    links = []
    for case, numbers in cases:
        if number in numbers:
            path, _, name = case.partition("::")
            links.append(f"[{name.removeprefix('test_')}]({prefix}{path})")
    return links


def _named(kind: str, links: list[str]) -> Iterator[str]:
    if links:
        yield f"{kind}: {_some(links)}"


def _some(found: list[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if found[_SHOWN:] else ""
    return ", ".join(found[:_SHOWN]) + more


def page_with_table() -> str:
    return _TABLE.sub(lambda _: table(), PAGE.read_text("utf-8"))


if __name__ == "__main__":
    new = [one for one in ids() if one not in registered()]
    REGISTER.write_text("".join(f"{one}\n" for one in [*_lines(), *new]), "utf-8")
    PAGE.write_text(page_with_table(), "utf-8")
    raise SystemExit("\n".join(problems()) or 0)
