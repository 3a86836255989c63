"""A report as JUnit XML, which most CI services can show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from ipc_channel.conformance.report import Json, explain


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
                failure.text = _printable("\n".join([explain(one), *one["trace"]]))
                ET.SubElement(case, "system-err").text = _printable(one["stderr"])
            elif one["status"] != "passed":
                ET.SubElement(
                    case, "skipped", message=_printable(f"{one['status']}: {one['what']}")
                )
    ET.indent(root)
    return ET.tostring(root, "unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Return ``text`` without characters that XML cannot hold."""
    return "".join(one if one in "\t\n" or _is_xml(one) else "�" for one in text)


def _is_xml(one: str) -> bool:
    return " " <= one < "\ud800" or "\ue000" <= one < "\ufffe" or one > "\uffff"
