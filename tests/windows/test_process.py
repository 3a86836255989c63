"""How a process starts on Windows, as far as any system can tell."""

from __future__ import annotations

import pytest

from fake_windows import CodedError
from ipc_channel.windows import process
from ipc_channel.windows.process import is_console_host, priority_class

IDLE, BELOW_NORMAL, ABOVE_NORMAL, HIGH = 0x40, 0x4000, 0x8000, 0x80


@pytest.mark.parametrize(
    ("nice", "priority"),
    [
        (0, 0),
        *((one, BELOW_NORMAL) for one in (1, 14)),
        *((one, IDLE) for one in (15, 19)),
        *((one, ABOVE_NORMAL) for one in (-1, -14)),
        *((one, HIGH) for one in (-15, -20)),
    ],
)
def test_nice_is_a_priority_class(nice: int, priority: int) -> None:
    """And never REALTIME_PRIORITY_CLASS, which can stop the whole machine."""
    assert priority_class(nice) == priority


@pytest.mark.parametrize(("code", "has_ended"), [(87, True), (5, False), (8, False)])
def test_a_process_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, code: int, has_ended: bool
) -> None:
    """It has ended only if there is none of that number, and not if we may not ask."""
    monkeypatch.setattr(process, "_open_process", lambda *_: None)
    monkeypatch.setattr(process, "last_error", lambda: CodedError(code))
    assert is_console_host(4321) is has_ended
