"""The requirements of the specification for a client, read from its pages."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ipc_channel.conformance.vectors import specification
from ipc_channel.transports.registry import all_types

_PAGES = ("framing", "rendezvous", "session", "errors")
_OPTIONAL = ("requests",)  # pages that apply to a testee with the ability of the same name
_ROW = re.compile(r"^\| ([A-Z]{3}-[1-9][0-9]*) \| (.*) \|$", re.MULTILINE)
_ENDS = ("client", "server", "both")


@dataclass(frozen=True)
class Requirement:
    """A rule of the specification."""

    id: str
    text: str

    @property
    def level(self) -> str:
        """The strongest word in it: MUST, SHOULD or MAY."""
        return next(
            (word for word in ("MUST", "SHOULD") if re.search(rf"\b{word}\b", self.text)),
            "MAY",
        )


def of_client(
    transports: Collection[str], abilities: Collection[str] = ()
) -> list[Requirement]:
    """Return the requirements for a client over ``transports`` with these ``abilities``."""
    found = []
    for page in (*_PAGES, *(one for one in _OPTIONAL if one in abilities)):
        text = (specification() / f"{page}.md").read_text("utf-8")
        for id_, row in _ROW.findall(text):
            end, rule = _split(row)
            if end != "server" and _transport(id_) in (None, *transports):
                found.append(Requirement(id_, rule))
    return found


def unchecked(requirements: Sequence[Requirement], covered: Collection[str]) -> list[str]:
    """Return the ids of requirements, except MAY, that no case covers."""
    return [one.id for one in requirements if one.id not in covered and one.level != "MAY"]


def _split(row: str) -> tuple[str, str]:
    """Return the end that a rule applies to, by default both, and the rule."""
    end, _, rule = row.partition(" | ")
    return (end, rule) if end in _ENDS else ("both", row)


def _transport(id_: str) -> str | None:
    """Return the transport of a requirement that applies to one transport only."""
    kind, _, number = id_.partition("-")
    if kind != "RDV":
        return None
    return next((one.name for one in all_types() if int(number) in one.own_rules), None)
