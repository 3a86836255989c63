"""What the specification asks of a client, read from its pages."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ipc_channel.conformance.vectors import specification

_PAGES = ("framing", "rendezvous", "session", "errors")
_ROW = re.compile(r"^\| ([A-Z]{3}-[1-9][0-9]*) \| (.*) \|$", re.MULTILINE)
# The actors of a rule: those who must or should do something.
_OF_SERVER = re.compile(r"\bserver (?:MUST|SHOULD|MAY)")
_OF_CLIENT = re.compile(r"\b(?:client|end|ends|receiver|reader) (?:MUST|SHOULD|MAY)")


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


def of_client(transports: Collection[str]) -> list[Requirement]:
    """Return what a client over ``transports`` has to fulfil."""
    found = []
    for page in _PAGES:
        text = (specification() / f"{page}.md").read_text("utf-8")
        for id_, row in _ROW.findall(text):
            who, _, rest = row.partition(" | ")
            rule = rest or row
            if rest and who == "server":
                continue
            if not rest and _is_of_server(rule):
                continue
            if _transport(id_) in (None, *transports):
                found.append(Requirement(id_, rule))
    return found


def unchecked(requirements: Sequence[Requirement], covered: Collection[str]) -> list[str]:
    """Return the ids of those, MAY left out, that no case covers."""
    return [one.id for one in requirements if one.id not in covered and one.level != "MAY"]


def _is_of_server(rule: str) -> bool:
    server, client = _OF_SERVER.search(rule), _OF_CLIENT.search(rule)
    return server is not None and client is None


def _transport(id_: str) -> str | None:
    """Return the only transport that a requirement is about, if there is one."""
    kind, _, number = id_.partition("-")
    if kind != "RDV":
        return None
    if 20 <= int(number) < 40:
        return "named_pipe"
    return "tcp" if 40 <= int(number) < 60 else None
