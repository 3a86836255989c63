"""Reports of runs in every format: JSON, JUnit XML, Markdown, one HTML page, a badge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2

from ipc_channel.conformance import badge
from ipc_channel.conformance.junit import junit
from ipc_channel.conformance.markdown import markdown
from ipc_channel.conformance.report import Json, Report, Verdict, explain, subject_of


def html(reports: Sequence[Json]) -> str:
    """Return one self-contained page: cases as rows, clients as columns."""
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
        subjects.setdefault(subject_of(row["case"]), []).append(row)
    page = environment.get_template("page.html.jinja")
    return page.render(reports=reports, subjects=subjects, explain=explain)


def as_json(reports: Sequence[Json]) -> str:
    """Return a single report as JSON."""
    if len(reports) != 1:
        raise ValueError("a JSON report holds one client; write one file for each")
    return json.dumps(reports[0], indent=1, ensure_ascii=False) + "\n"


def svg(reports: Sequence[Json]) -> str:
    """Return a badge for the README of a single client."""
    if len(reports) != 1:
        raise ValueError("a badge shows one client; write one file for each")
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
"""The writers of reports, by the ending of the file."""


def write(report: Report, file: Path) -> None:
    """Write a report in the format that the ending of ``file`` names."""
    write_all([report.to_json()], file)


def write_all(reports: Sequence[Json], file: Path) -> None:
    """Write one report of several clients."""
    text = WRITERS[file.suffix](reports)
    # A testee may print text that cannot be encoded.
    file.write_text(text, "utf-8", errors="backslashreplace")
