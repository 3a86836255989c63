"""The case, and the catalogue of all cases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from ipc_channel.transports.registry import all_types

if TYPE_CHECKING:
    from ipc_channel.conformance.trial import Trial

_T = TypeVar("_T")
Level = Literal["MUST", "SHOULD"]
Body = Callable[["Trial"], Awaitable[None]]
TRANSPORTS = tuple(one.name for one in all_types())


def over(**capabilities: bool) -> tuple[str, ...]:
    """Return the transports that have these capabilities, as TransportType names them."""
    return tuple(
        one.name
        for one in all_types()
        if all(getattr(one, name) == value for name, value in capabilities.items())
    )


class CaseFailedError(Exception):
    """An expectation of a case failed. ``expected`` and ``actual`` are texts for people."""

    def __init__(self, what: str, expected: object, actual: object) -> None:
        super().__init__(what, expected, actual)
        self.what = what
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, got {self.actual}"[:1000]


async def in_time(
    patience: float,
    awaitable: Awaitable[_T],
    what: str,
    seen: Callable[[], str] = lambda: "it has not",
) -> _T:
    """Wait ``patience`` seconds for something the testee must do, or fail the case.

    ``seen`` then describes how far the testee got.
    """
    try:
        async with asyncio.timeout(patience):
            return await awaitable
    except TimeoutError:
        raise CaseFailedError(
            f"the testee after {patience} s", f"it has {what}", seen()
        ) from None


class NotApplicableError(Exception):
    """The case does not apply to this testee, or cannot run on this machine."""


@dataclass(frozen=True)
class Case:
    """One case over one transport."""

    id: str
    """Hierarchical, and never changed: ``framing/decode/one-byte``."""
    level: Level
    covers: tuple[str, ...]
    """Ids of the requirements that it checks."""
    needs: frozenset[str]
    """Abilities that the testee must have named in its greeting."""
    transport: str
    text: str
    """The expectation, in one sentence."""
    body: Body

    @property
    def name(self) -> str:
        """The id with the transport, unique within a run."""
        return f"{self.id} [{self.transport}]"


CATALOGUE: list[Case] = []


def case(
    id_: str,
    *covers: str,
    level: Level = "MUST",
    needs: str = "",
    transports: tuple[str, ...] = TRANSPORTS,
    text: str = "",
) -> Callable[[Body], Body]:
    """Add a coroutine to the catalogue, once for each transport.

    ``needs`` are names of abilities of the testee, separated by spaces. ``transports``
    is what :func:`over` returns, or the name of the transport whose rules are checked.
    ``text`` is the first line of the docstring unless given.
    """

    def register(body: Body) -> Body:
        told = text or (body.__doc__ or "").partition("\n")[0]
        abilities = frozenset(needs.split())
        CATALOGUE.extend(
            Case(id_, level, covers, abilities, transport, told, body)
            for transport in transports
        )
        return body

    return register
