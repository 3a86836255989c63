"""The outcome of a run: its verdict, and everything that a report contains."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ipc_channel.conformance import requirements
from ipc_channel.conformance.case import CATALOGUE
from ipc_channel.conformance.runner import Result, Run
from ipc_channel.conformance.testee import Greeting

FORMAT = 1
"""Version of the JSON report; ``report.schema.json`` describes it."""

Json = dict[str, Any]


class Verdict(enum.StrEnum):
    """The verdict of a run on a client (spec/conformance.md)."""

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
        """Number of cases that have run."""
        return len(self.results) - self.counts()["skipped"]

    @property
    def total(self) -> int:
        """Number of all cases for a client over these transports."""
        return sum(case.transport in self.run.transports for case in CATALOGUE)

    @property
    def unchecked(self) -> list[str]:
        """Requirements of a client over these transports, with its abilities, without a case."""
        transports = self.run.transports
        covered = {
            id_ for case in CATALOGUE if case.transport in transports for id_ in case.covers
        }
        asked = requirements.of_client(transports, self.greeting.can)
        return requirements.unchecked(asked, covered)

    def counts(self) -> Counter[str]:
        return Counter(result.status for result in self.results)

    def by_subject(self) -> dict[str, list[tuple[int, int]]]:
        """Return, by subject and transport, how many cases passed and how many ran."""
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
        """Return the report in the format of ``report.schema.json``."""
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


def subject_of(one: Json) -> str:
    """Return the subject of a case: the first part of its id."""
    return str(one["id"]).partition("/")[0]


def explain(one: Json) -> str:
    """Return why a case failed or was skipped, in one line."""
    if not (one["expected"] or one["actual"]):
        return str(one["what"])
    return f"{one['what']}: expected {one['expected']}, got {one['actual']}"
