"""The levels of lines that are JSON, and the lines and signals in the words for an end."""

from __future__ import annotations

import json
import logging

import pytest

from ipc_channel.helper.lines import level_of
from ipc_channel.helper.result import quoted, signal_name

NAMED = {
    logging.DEBUG: ["trace", "debug"],
    logging.INFO: ["info", "information", "notice"],
    logging.WARNING: ["warn", "Warning"],
    logging.ERROR: ["ERROR", "err"],
    logging.CRITICAL: ["critical", "fatal", "panic", "alert", "emergency"],
}
NUMBERS = {0: 10, 29: 10, 30: 20, 39.5: 20, 40: 30, 50: 40, 59: 40, 60: 50, 100: 50}
KEYS = ["level", "@level", "severity", "lvl", "levelname", "log.level"]
LEVELS = [(name, level) for level, names in NAMED.items() for name in names]


@pytest.mark.parametrize(("stated", "level"), [*LEVELS, *NUMBERS.items()])
def test_names_and_numbers_of_levels(stated: object, level: int) -> None:
    assert level_of(json.dumps({"level": stated}), default=1) == level


@pytest.mark.parametrize("key", KEYS)
def test_names_under_which_a_level_is_stated(key: str) -> None:
    assert level_of(json.dumps({key: "error"}), default=1) == logging.ERROR


@pytest.mark.parametrize(
    "line",
    [
        '{"level": "odd"}',
        '{"level": true}',
        '{"level": null}',
        '{"level": [50]}',
        '{"no": 50}',
        "{",
        ' {"level": 50}',
        '{"level": 50}, 1',
        '{"level": ' + "[" * 100_000,
    ],
)
def test_other_lines_have_the_default(line: str) -> None:
    assert level_of(line, default=1) == 1


def test_an_error_quotes_the_last_forty_lines() -> None:
    text = quoted(tuple(map(str, range(50))))
    assert text == "; its last lines:" + "".join(f"\n    {n}" for n in range(10, 50))
    assert quoted(()) == ""


def test_a_signal_without_a_name_has_a_number() -> None:
    assert signal_name(99) == "signal 99"
