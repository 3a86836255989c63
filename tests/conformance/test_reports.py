"""The reports of the suite, in every format."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

import ipc_channel.conformance
from conformance.running import RIGHT, WRONG, run
from ipc_channel.conformance import junit, reports

SCHEMA = Path(ipc_channel.conformance.__file__).with_name("report.schema.json")


@pytest.fixture(scope="module")
def two_reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    directory = tmp_path_factory.mktemp("reports")
    files = []
    for name, testee in (("right", RIGHT), ("wrong", [*WRONG, "crash-looks-clean"])):
        file = directory / f"{name}.json"
        options = ["--run", "ends/*eof", "--seed", "7", "--report", str(file)]
        run("conformance", *options, "--", *testee)
        files.append(file)
    yield files


def test_the_report_is_as_its_schema_says(two_reports: list[Path]) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for file, conforms in zip(two_reports, (True, False), strict=True):
        report = json.loads(file.read_text("utf-8"))
        jsonschema.validate(report, schema)
        assert report["conforms"] is conforms
        assert report["seed"] == 7


def test_reports_side_by_side(two_reports: list[Path], tmp_path: Path) -> None:
    files = [str(one) for one in two_reports]
    for ending in (".html", ".md", ".xml"):
        page = tmp_path / f"page{ending}"
        done = run("report", *files, "--to", str(page))
        assert done.returncode == 0, done.stderr
        text = page.read_text("utf-8")
        assert "ends/boundary-eof" in text.replace("<wbr>", "")
        assert "Python ipc-channel" in text
        if ending == ".xml":
            suites = ET.fromstring(text).findall("testsuite")
            assert [suite.get("failures") for suite in suites] == ["0", "3"]
            failure = suites[1].find(".//failure")
            assert failure is not None
            assert "the result of read" in (failure.text or "")
    done = run("report", *files, "--to", str(tmp_path / "page.json"))
    assert (done.returncode, "holds one client" in done.stderr) == (2, True)


def test_what_is_no_report_is_refused(two_reports: list[Path], tmp_path: Path) -> None:
    report = json.loads(two_reports[0].read_text("utf-8"))
    missing = tmp_path / "missing.json"
    wrong = {
        "text": "not json",
        "list": "[]",
        "version": json.dumps(report | {"format": 2}),
        "testee": json.dumps(report | {"testee": {}}),
        "results": json.dumps(report | {"results": [{}]}),
    }
    for name, text in wrong.items():
        (tmp_path / f"{name}.json").write_text(text, "utf-8")
    for name in (*wrong, missing.stem):
        file = tmp_path / f"{name}.json"
        done = run("report", str(file), "--to", str(tmp_path / "page.md"))
        assert done.returncode == 2, name
        why = "cannot be read: No such file" if file == missing else "is no report: "
        assert done.stderr.startswith(f"ipc-channel report: {file} {why}"), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_clients_of_one_name_are_told_apart(
    two_reports: list[Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    run("report", *map(str, two_reports), "--to", str(page))
    names = page.read_text("utf-8").splitlines()[2]
    assert names == "| cases of | Python ipc-channel (right) | Python ipc-channel (wrong) |"


def test_what_a_testee_prints_cannot_break_a_page() -> None:
    result = {
        "id": "ends/x",
        "transport": "tcp",
        "level": "MUST",
        "covers": ["SES-1"],
        "text": "A case.",
        "status": "failed",
        "seconds": 0.1,
        "what": "<script>alert(1)</script>",
        "expected": "",
        "actual": "\x00\x1b]",
        "trace": ["]]>"],
        "stderr": "\x07</pre>",
    }
    report = {
        "testee": {"name": "<b>x</b>", "version": "1", "can": []},
        "conforms": False,
        "verdict": "<i>no</i>",
        "checked": 1,
        "total": 1,
        "unchecked": ["<u>SES-1</u>"],
        "counts": {"failed": 1},
        "seconds": 1,
        "results": [result],
    }
    page = reports.html([report])
    assert "<script>alert" not in page
    assert not [text for text in ("<b>x", "<i>no", "<u>SES") if text in page]
    ET.fromstring(junit.junit([report]))
