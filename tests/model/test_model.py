"""No interleaving of two ends, a passer-by, crashes and timeouts goes wrong."""

from __future__ import annotations

import itertools

import pytest

from model.pipes import Exploration, Rules, State, faults

SETTINGS = [
    {"timeouts": timeouts, "crashes": crashes, "client_leaves_at_once": leaves}
    for timeouts, crashes, leaves in itertools.product([False, True], repeat=3)
]


def explore(**rules: bool) -> Exploration:
    return Exploration(Rules(**rules)).run()


@pytest.mark.covers("RDV-22", "RDV-24", "RDV-25", "RDV-26")
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_interleaving_ends_well(setting: dict[str, bool]) -> None:
    exploration = explore(**setting)
    assert len(exploration.came_from) > 100, "it has explored something"
    assert faults(exploration) == []


def test_without_a_passer_by_both_always_meet() -> None:
    exploration = Exploration(Rules(timeouts=False, crashes=False, passers_by=0)).run()
    assert faults(exploration) == []
    assert State() in exploration.came_from


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("opens_without_blocking", "no good end"),
        ("delivers_of_who_left", "no good end"),
        ("ends_only_if_nobody_reads", "an end that was none"),
        ("needs_both_ends", "an end that was none"),
        ("asks_for_the_reader_first", "a message was lost"),
        ("keeps_its_pipes", "an end that was none"),
    ],
)
def test_each_rule_is_needed(rule: str, fault: str) -> None:
    found = [
        story.partition(":")[0]
        for setting in SETTINGS
        for story in faults(explore(**setting, **{rule: False}))
    ]
    assert fault in found
