"""The specification itself: its ids, its vectors, and that cases check what it says."""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import requirements
import vectors
from ipc_channel import errors


@functools.cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return what checks one file: its cases are of its own kind only."""
    schema = json.loads((vectors.DIRECTORY / "schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    schema["properties"]["cases"]["items"] = {"$ref": f"#/$defs/{name}"}
    return jsonschema.Draft202012Validator(schema)


def vector_file(name: str) -> Any:
    return json.loads((vectors.DIRECTORY / f"{name}.json").read_text("utf-8"))


def is_valid(name: str, data: Any) -> bool:
    return bool(validator(name).is_valid(data))


@pytest.mark.parametrize("name", requirements.VECTORS)
def test_vectors_are_as_the_schema_says(name: str) -> None:
    validator(name).validate(vector_file(name))
    found = [case["id"] for case in vectors.load(name)]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", requirements.VECTORS)
def test_the_schema_refuses_what_is_wrong(name: str) -> None:
    good = vector_file(name)
    for key, value in (("version", 2), ("colour", "red"), ("cases", [])):
        assert not is_valid(name, good | {key: value})
    for position, case in enumerate(good["cases"]):
        changes: list[dict[str, Any]] = [
            {"covers": []},
            {"covers": ["SES-32"]},  # no vector can check what a close frees
            {"covers": case["covers"] * 2},
            {"error": "too_large"},
            {"colour": "red"},
        ]
        for wrong in changes:
            assert not is_valid(name, with_case(good, position, case | wrong)), wrong
        for key in set(case) - {"note", "max_message_size", "serve"}:
            cut = {other: value for other, value in case.items() if other != key}
            assert not is_valid(name, with_case(good, position, cut)), key


def with_case(file: Any, position: int, case: Any) -> Any:
    changed = copy.copy(file)
    changed["cases"] = [case, *file["cases"][:position], *file["cases"][position + 1 :]]
    changed["cases"] = changed["cases"][:2]  # one is enough to be wrong
    return changed


def test_every_file_of_vectors_is_known() -> None:
    files = {path.stem for path in vectors.DIRECTORY.glob("*.json")}
    assert files == {"schema", *requirements.VECTORS}


def test_every_requirement_has_a_case_and_every_case_a_requirement() -> None:
    assert requirements.problems() == []


def test_what_is_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cases = [*requirements.test_cases(), ("test_x.py::test_x", ["SES-99", ""])]
    monkeypatch.setattr(requirements, "test_cases", lambda: cases)
    for others in ("vector_cases", "suite_cases", "client_cases"):
        monkeypatch.setattr(requirements, others, list)
    (tmp_path / "spec").mkdir()
    prose = "An end MUST do so, says RDV-99.\n| SES-13a | It MUST sing. |\n"
    (tmp_path / "spec" / "page.md").write_text(prose)
    found = requirements.problems()
    assert "no case checks RDV-3" in found
    assert "frames/one-byte was given, and is gone" in found
    assert "a case checks 'SES-99', which does not exist" in found
    assert "a case checks '', which does not exist" in found
    monkeypatch.setattr(requirements, "client_tests", lambda: iter([("x::y", None)]))
    assert "x::y does not say what it covers" in requirements.problems()
    monkeypatch.setattr(requirements, "ROOT", tmp_path)
    assert list(requirements.problems_of_pages({"SES-13"})) == [
        "page.md obliges without an id: An end MUST do so, says RDV-99.",
        "page.md names RDV-99, which does not exist",
        "page.md obliges without an id: | SES-13a | It MUST sing. |",
    ]


def test_what_a_test_of_a_client_covers_stands_above_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go-client"
    go.mkdir()
    (go / "one_test.go").write_text(
        "// Covers SES-1.\nfunc TestOther(t *testing.T) {}\n\n"
        "// It ends.\n//\n// Covers SES-10, RDV-2.\nfunc TestEnd(t *testing.T) {}\n\n"
        "func TestNothing(t *testing.T) {}\n"
    )
    js = tmp_path / "js-client" / "test"
    js.mkdir(parents=True)
    (js / "one.test.js").write_text(
        "describe('x', () => {\n  // Covers SES-3.\n  it('ends', () => {});\n"
        "  // Beyond the specification: names of the platform.\n"
        "  it(\n    `is ${that}`,\n    () => {});\n"
        "  // Covers SES-4.\n  it(vector.id, () => {});\n});\n"
        "// Covers SES-5.\ntest('stays', (t) => {});\n"
    )
    monkeypatch.setattr(requirements, "ROOT", tmp_path)
    assert list(requirements.client_tests()) == [
        ("go-client/one_test.go::TestOther", ["SES-1"]),
        ("go-client/one_test.go::TestEnd", ["SES-10", "RDV-2"]),
        ("go-client/one_test.go::TestNothing", None),
        ("js-client/test/one.test.js::ends", ["SES-3"]),
        ("js-client/test/one.test.js::is ${that}", []),
        ("js-client/test/one.test.js::vector.id", ["SES-4"]),
        ("js-client/test/one.test.js::stays", ["SES-5"]),
    ]


def test_the_table_is_current() -> None:
    assert requirements.page_with_table() == requirements.PAGE.read_text("utf-8"), (
        "run: python tests/requirements.py"
    )


@pytest.mark.covers("ERR-1")
def test_the_codes_are_those_of_the_specification() -> None:
    page = (requirements.ROOT / "spec" / "errors.md").read_text("utf-8")
    told = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    builtin = {"wrong-type", "bad-option"}  # TypeError and ValueError in Python
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    codes = {vars(one)["code"] for one in classes if "code" in vars(one)}
    assert codes - {errors.IPCChannelError.code} == told - builtin
