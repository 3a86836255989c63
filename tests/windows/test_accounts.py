"""Whose a process is, as far as any system can tell."""

from __future__ import annotations

from typing import Any

import pytest

from fake_windows import CodedError
from ipc_channel.windows import accounts


class Refusal:
    """A function of Windows that fails."""

    def __init__(self, code: int) -> None:
        self._code = code

    def checked(self, *_: Any) -> Any:
        raise CodedError(self._code)


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(accounts, "_open_process", Refusal(code))
    monkeypatch.setattr(accounts, "error_of", CodedError)


@pytest.mark.parametrize("code", [5, 87])
def test_a_process_that_has_ended_or_is_not_ours_to_ask(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refuse(monkeypatch, code)
    assert accounts.user_of_process(4321) is None


@pytest.mark.parametrize("code", [8, 1450])
def test_a_want_of_windows_is_told(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """ERROR_NOT_ENOUGH_MEMORY and ERROR_NO_SYSTEM_RESOURCES say nothing of the process."""
    refuse(monkeypatch, code)
    for ask in (lambda: accounts.user_of_process(4321), accounts.own_sid):
        with pytest.raises(CodedError) as caught:
            ask()
        assert caught.value.winerror == code


def test_a_process_that_may_not_ask_for_its_own_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse(monkeypatch, 5)
    with pytest.raises(CodedError) as caught:
        accounts.own_sid()
    assert caught.value.winerror == 5
