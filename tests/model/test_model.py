"""No interleaving of two ends, a passer-by, crashes and timeouts goes wrong."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from model.exploration import Exploration, faults
from model.state import Rules

SETTINGS = [
    {"timeouts": timeouts, "crashes": crashes, "client_leaves_at_once": leaves}
    for timeouts, crashes, leaves in itertools.product([False, True], repeat=3)
]


def explore(**rules: bool) -> Exploration:
    return Exploration(Rules(**rules)).run()


@pytest.mark.covers("RDV-22", "RDV-23", "RDV-24", "RDV-25", "RDV-26", "RDV-28", "RDV-29")
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_interleaving_ends_well(setting: dict[str, bool]) -> None:
    exploration = explore(**setting)
    assert len(exploration.came_from) > 100, "it has explored something"
    assert faults(exploration) == []


@pytest.mark.covers("RDV-30")
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_without_a_passer_by(setting: dict[str, bool], early: bool) -> None:
    """Then even a client that is content with less goes right."""
    rules = Rules(**setting, passers_by=0, client_connects_early=early)
    assert faults(Exploration(rules).run()) == []


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("opens_without_blocking", "no good end"),
        ("looks_again", "a message was lost"),
        ("delivers_of_who_left", "no good end"),
        ("ends_only_if_nobody_reads", "an end that was none"),
        ("needs_both_ends", "an end that was none"),
        ("asks_for_the_reader_first", "a message was lost"),
        ("keeps_its_pipes", "a message was lost"),
        # What the exploration itself must notice.
        ("notices_a_crash", "no good end"),
        ("remembers", "no good end"),
    ],
)
def test_each_rule_is_needed(rule: str, fault: str) -> None:
    assert fault in faults_of(rule, value=False)


@pytest.mark.covers("RDV-24")
@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (None, None),
        ("looks_for_the_reader_first", "connected to nobody"),
        ("looks_for_the_reader_last", "an end that was none"),
    ],
)
def test_two_passers_by_one_after_the_other(
    rule: str | None, fault: str | None, leaves: bool
) -> None:
    """One process reads, another writes: only an end that checks the reader twice notices."""
    rules = Rules(timeouts=False, crashes=False, client_leaves_at_once=leaves, passers_by=2)
    if rule is not None:
        rules = replace(rules, **{rule: False})
    found = {story.partition(":")[0] for story in faults(Exploration(rules).run())}
    assert fault in found if fault else not found


def test_a_client_that_connects_early_may_take_a_passer_by_for_its_server() -> None:
    """What the specification says that it costs."""
    assert "an end that was none" in faults_of("client_connects_early", value=True)


def faults_of(rule: str, *, value: bool) -> set[str]:
    return {
        story.partition(":")[0]
        for setting in SETTINGS
        for story in faults(explore(**setting, **{rule: value}))
    }
