"""The optional layer of requests and answers (spec/requests.md): the vectors."""

from __future__ import annotations

from typing import Any

from ipc_channel.conformance import vectors
from ipc_channel.conformance.case import Body, case
from ipc_channel.conformance.request_vectors import needs_of, play
from ipc_channel.conformance.trial import Trial

_SHOULD = {"REQ-13"}


def _play(vector: dict[str, Any]) -> Body:
    async def body(t: Trial) -> None:
        await play(t, vector)

    return body


for _vector in vectors.load("requests"):
    case(
        f"requests/vectors/{_vector['id']}",
        *_vector["covers"],
        level="SHOULD" if set(_vector["covers"]) <= _SHOULD else "MUST",
        needs=needs_of(_vector),
        text=_vector["note"],
    )(_play(_vector))
