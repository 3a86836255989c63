"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ipc_channel.conformance.report import Json, explain, subject_of


def markdown(reports: Sequence[Json]) -> str:
    """Return a table of subjects by clients, and the failures."""
    lines = ["# Conformance", ""]
    names = [_escape(report["testee"]["name"]) for report in reports]
    lines += [f"| cases of | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for subject in dict.fromkeys(
        subject_of(one) for report in reports for one in report["results"]
    ):
        cells = []
        for report in reports:
            ran = [
                one
                for one in report["results"]
                if subject_of(one) == subject and one["status"] != "skipped"
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
                _escape(explain(one)),
            ]
            if one["trace"]:
                lines += ["", *(f"    {line}" for line in one["trace"])]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """Return ``text`` as one line, with Markdown's special characters escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&])", r"\\\1", " ".join(text.split()))
