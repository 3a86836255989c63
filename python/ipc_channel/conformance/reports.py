"""What came of a run, as JSON, JUnit XML, Markdown and one HTML page."""

from __future__ import annotations

import enum
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from ipc_channel.conformance import badge, requirements
from ipc_channel.conformance.case import CATALOGUE
from ipc_channel.conformance.runner import Result, Run
from ipc_channel.conformance.testee import Greeting

FORMAT = 1
"""Version of the JSON report; ``report.schema.json`` describes it."""

Json = dict[str, Any]


class Verdict(enum.StrEnum):
    """What a run says of a client (spec/conformance.md)."""

    STRICT = "conforms strictly"
    """Every MUST and every SHOULD that was checked is fulfilled."""
    CONFORMS = "conforms"
    """Every MUST that was checked is fulfilled, but not every SHOULD."""
    FAILS = "does not conform"
    """A MUST is not fulfilled, known or not."""
    OPEN = "undecided"
    """No MUST was checked."""

    @property
    def is_good(self) -> bool:
        return self in (Verdict.STRICT, Verdict.CONFORMS)


@dataclass(frozen=True)
class Report:
    """All results of a run, in the order of the catalogue."""

    greeting: Greeting
    run: Run
    results: Sequence[Result]
    seconds: float

    @property
    def is_red(self) -> bool:
        return any(result.is_red for result in self.results)

    @property
    def verdict(self) -> Verdict:
        of_must = {one.status for one in self.results if one.case.level == "MUST"}
        of_should = {one.status for one in self.results if one.case.level == "SHOULD"}
        if of_must & {"failed", "known"}:
            return Verdict.FAILS
        if not of_must & {"passed", "fixed"}:
            return Verdict.OPEN
        if of_should & {"failed", "warned", "known"}:
            return Verdict.CONFORMS
        return Verdict.STRICT

    @property
    def checked(self) -> int:
        """How many cases have run."""
        return len(self.results) - self.counts()["skipped"]

    @property
    def total(self) -> int:
        """How many cases there are for a client over these transports."""
        return sum(case.transport in self.run.transports for case in CATALOGUE)

    @property
    def unchecked(self) -> list[str]:
        """Requirements of a client over these transports that have no case."""
        transports = self.run.transports
        covered = {
            id_ for case in CATALOGUE if case.transport in transports for id_ in case.covers
        }
        return requirements.unchecked(requirements.of_client(transports), covered)

    def counts(self) -> Counter[str]:
        return Counter(result.status for result in self.results)

    def by_subject(self) -> dict[str, list[tuple[int, int]]]:
        """Return of each subject, for each transport, how many passed and how many ran."""
        subjects: dict[str, list[tuple[int, int]]] = {}
        for result in self.results:
            subjects.setdefault(result.case.id.partition("/")[0], [])
        for subject, cells in subjects.items():
            for transport in self.run.transports:
                ran = [
                    result
                    for result in self.results
                    if result.case.transport == transport
                    and result.case.id.startswith(f"{subject}/")
                    and result.status != "skipped"
                ]
                cells.append((sum(one.status == "passed" for one in ran), len(ran)))
        return subjects

    def to_json(self) -> Json:
        """Return what ``report.schema.json`` describes."""
        return {
            "format": FORMAT,
            "testee": {
                "name": self.greeting.name,
                "version": self.greeting.version,
                "can": sorted(self.greeting.can),
            },
            "command": list(self.run.command),
            "seed": self.run.seed,
            "strict": self.run.strict,
            "seconds": round(self.seconds, 3),
            "conforms": self.verdict.is_good,
            "verdict": self.verdict.value,
            "checked": self.checked,
            "total": self.total,
            "unchecked": self.unchecked,
            "counts": dict(self.counts()),
            "results": [_result_to_json(result) for result in self.results],
        }


def _result_to_json(result: Result) -> Json:
    case = result.case
    return {
        "id": case.id,
        "transport": case.transport,
        "level": case.level,
        "covers": list(case.covers),
        "text": case.text,
        "status": result.status,
        "seconds": round(result.seconds, 3),
        "what": result.what,
        "expected": result.expected,
        "actual": result.actual,
        "trace": result.trace,
        "stderr": result.stderr,
    }


def junit(reports: Sequence[Json]) -> str:
    """Return a suite for each client, a test case for each case."""
    root = ET.Element("testsuites")
    for report in reports:
        results = report["results"]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_printable(report["testee"]["name"]),
            tests=str(len(results)),
            failures=str(sum(one["status"] in ("failed", "fixed") for one in results)),
            errors="0",
            skipped=str(
                sum(one["status"] not in ("passed", "failed", "fixed") for one in results)
            ),
            time=str(report["seconds"]),
        )
        for one in results:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=one["id"].replace("/", "."),
                name=f"{one['id']} [{one['transport']}]",
                time=str(one["seconds"]),
            )
            if one["status"] in ("failed", "fixed"):
                failure = ET.SubElement(case, "failure", message=_printable(one["what"]))
                failure.text = _printable("\n".join([_explain(one), *one["trace"]]))
                ET.SubElement(case, "system-err").text = _printable(one["stderr"])
            elif one["status"] != "passed":
                ET.SubElement(
                    case, "skipped", message=_printable(f"{one['status']}: {one['what']}")
                )
    ET.indent(root)
    return ET.tostring(root, "unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Return what XML can hold of ``text``."""
    return "".join(one if one in "\t\n" or _is_xml(one) else "�" for one in text)


def _is_xml(one: str) -> bool:
    return " " <= one < "\ud800" or "\ue000" <= one < "\ufffe" or one > "\uffff"


def _explain(one: Json) -> str:
    if not (one["expected"] or one["actual"]):
        return str(one["what"])
    return f"{one['what']}: expected {one['expected']}, got {one['actual']}"


def markdown(reports: Sequence[Json]) -> str:
    """Return a table of subjects by clients, and the failures."""
    lines = ["# Conformance", ""]
    names = [_escape(report["testee"]["name"]) for report in reports]
    lines += [f"| cases of | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for subject in dict.fromkeys(
        _subject(one) for report in reports for one in report["results"]
    ):
        cells = []
        for report in reports:
            ran = [
                one
                for one in report["results"]
                if _subject(one) == subject and one["status"] != "skipped"
            ]
            cells.append(f"{sum(one['status'] == 'passed' for one in ran)} of {len(ran)}")
        lines.append(f"| {subject} | {' | '.join(cells)} |")
    for report in reports:
        lines += ["", f"## {_escape(report['testee']['name'])}", ""]
        counts = ", ".join(
            f"{count} {status}" for status, count in report["counts"].items()
        )
        lines.append(f"{report['verdict'].capitalize()}: {counts}.")
        if report["unchecked"]:
            lines += ["", f"Without a case: {', '.join(report['unchecked'])}."]
        bad = [
            one for one in report["results"] if one["status"] not in ("passed", "skipped")
        ]
        for one in bad:
            lines += [
                "",
                f"### {one['id']} [{one['transport']}]: {one['status']}",
                "",
                f"{_escape(one['text'])} ({', '.join(one['covers'])})",
                "",
                _escape(_explain(one)),
            ]
            if one["trace"]:
                lines += ["", *(f"    {line}" for line in one["trace"])]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """Return ``text`` as one line without any meaning to Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&])", r"\\\1", " ".join(text.split()))


def _subject(one: Json) -> str:
    return str(one["id"]).partition("/")[0]


def html(reports: Sequence[Json]) -> str:
    """Return one page that needs nothing else: cases as rows, clients as columns."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    rows: dict[str, Json] = {}
    for column, report in enumerate(reports):
        for one in report["results"]:
            name = f"{one['id']} [{one['transport']}]"
            row = rows.setdefault(name, {"case": one, "cells": [None] * len(reports)})
            row["cells"][column] = one
    subjects: dict[str, list[Json]] = {}
    for row in rows.values():
        subjects.setdefault(_subject(row["case"]), []).append(row)
    page = environment.get_template("page.html.jinja")
    return page.render(reports=reports, subjects=subjects, explain=_explain)


def as_json(reports: Sequence[Json]) -> str:
    """Return a single report as JSON."""
    if len(reports) != 1:
        raise ValueError("a JSON report is of one client")
    return json.dumps(reports[0], indent=1, ensure_ascii=False) + "\n"


def svg(reports: Sequence[Json]) -> str:
    """Return a badge for the README of a single client."""
    if len(reports) != 1:
        raise ValueError("a badge is of one client")
    [report] = reports
    text = report["verdict"]
    if report["checked"] < report["total"]:
        text += f", {report['checked']} of {report['total']} cases"
    colour = {
        Verdict.STRICT: "#2da44e",
        Verdict.CONFORMS: "#2da44e",
        Verdict.FAILS: "#cf222e",
    }
    return badge.svg("ipc-channel", text, colour.get(report["verdict"], "#6e7781"))


WRITERS: dict[str, Callable[[Sequence[Json]], str]] = {
    ".json": as_json,
    ".xml": junit,
    ".md": markdown,
    ".html": html,
    ".svg": svg,
}
"""What writes a report, by the ending of its file."""


def write(report: Report, file: Path) -> None:
    """Write a report in the format that the ending of ``file`` names."""
    write_all([report.to_json()], file)


def write_all(reports: Sequence[Json], file: Path) -> None:
    """Write one report of several clients."""
    text = WRITERS[file.suffix](reports)
    # What a testee prints may be no text at all.
    file.write_text(text, "utf-8", errors="backslashreplace")
