"""The specification itself: its ids, its vectors, and that cases check what it says."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

import requirements
import vectors


def schema() -> Any:
    return json.loads((vectors.DIRECTORY / "schema.json").read_text("utf-8"))


def vector_file(name: str) -> Any:
    return json.loads((vectors.DIRECTORY / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", requirements.VECTORS)
def test_vectors_are_as_the_schema_says(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(vector_file(name), schema(), jsonschema.Draft202012Validator)
    ids = [case["id"] for case in vectors.load(name)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "wrong", [{"covers": []}, {"wire": ["0"]}, {"error": "too_large"}, {"colour": "red"}]
)
def test_the_schema_refuses_what_is_wrong(wrong: dict[str, Any]) -> None:
    data = vector_file("frames")
    data["cases"][0] |= wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema(), jsonschema.Draft202012Validator)


def test_every_file_of_vectors_is_known() -> None:
    files = {path.stem for path in vectors.DIRECTORY.glob("*.json")}
    assert files == {"schema", *requirements.VECTORS}


def test_every_must_has_a_case_and_every_case_a_requirement() -> None:
    assert requirements.problems() == []


def test_the_table_is_current() -> None:
    assert requirements.page_with_table() == requirements.PAGE.read_text("utf-8"), (
        "run: python tests/requirements.py"
    )
