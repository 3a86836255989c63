"""The benchmark of requests: that it runs and computes, not what it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.callers import WAYS, Call
from benchmarks.requests import WORKS, Work, measure, run, table

INSTALLED = [name for name in WAYS if not name.startswith("gRPC")]


async def test_each_way_does_each_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # for the helpers
    taken = await run(INSTALLED, 1, 0.01)
    assert len(taken) == len(WORKS) * len(INSTALLED) - 2  # messages have one caller
    for results in taken.values():
        ((seconds, _),) = results
        assert seconds > 0
    assert table(taken).row_count == len(taken)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.title)
async def test_a_wrong_answer_is_found(work: Work) -> None:
    async def wrong(payload: bytes) -> bytes:
        return payload[1:]

    call: Call = wrong
    with pytest.raises(ValueError, match="an answer is wrong"):
        await measure(call, work, 2)
