"""A signal handler that raises while a guard is started or told leaves nothing behind."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from descriptors import open_descriptors
from flood import Interrupt
from guards import guards_of, until
from injector import PACKAGE, Injector, release_locks
from process_tree import children

if sys.platform == "win32":
    pytest.skip("a job object does it", allow_module_level=True)

from ipc_channel.helper import guard

_PARTS = 5  # so many tests, as each place takes milliseconds


class InjectorAt(Injector):
    """Raises at the first opcode of the package at ``place``.

    The standard library may lose a descriptor that it has just opened.
    """

    def __init__(self, place: tuple[str, int] | None) -> None:
        super().__init__(0)
        self.place = place

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        return super()._enter(frame, event, argument)

    def _is_due(self) -> bool:
        return self.passed[-1] == self.place


@pytest.fixture(autouse=True)
def another_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a guard that has not started, and leave that of this process alone."""
    gc.collect()
    monkeypatch.setattr(guard, "_guard", None)
    with warnings.catch_warnings():
        # A socket that was made and not returned yet is closed as it is collected.
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        drop()
    release_locks()


def drop() -> None:
    """Leave the guard, which ends."""
    if guard._guard is not None:
        guard._guard.close()
    guard._guard = None


def struck(work: Callable[[], None], place: tuple[str, int] | None) -> Injector:
    try:
        with InjectorAt(place) as injector:
            work()
    except Interrupt:
        pass
    release_locks()
    return injector


def places(work: Callable[[], None]) -> list[tuple[str, int]]:
    found = list(dict.fromkeys(struck(work, None).passed))
    assert len(found) > 50
    return found


@pytest.mark.parametrize("part", range(_PARTS))
def test_a_start_that_is_interrupted_is_made_up_for(part: int) -> None:
    """The next one starts the only guard, and nothing of the first one is left."""
    guard.prepare()
    drop()
    gc.collect()
    before, files = children(), open_descriptors()
    for place in places(guard.prepare)[part::_PARTS]:
        drop()
        struck(guard.prepare, place)
        guard.add("-0:1")
        guard.remove("-0:1")
        assert children() == before
        assert guard.descriptor() is not None
        gc.collect()
        assert open_descriptors() == files, place
    until(lambda: len(guards_of(os.getpid())) <= 2)


def test_a_list_is_right_after_an_interrupt() -> None:
    """What was told in part is told again, which changes nothing."""

    def change() -> None:
        guard.add("-0:1")
        guard.remove("-0:1")

    guard.prepare()
    for place in places(change):
        struck(change, place)
        guard.add("-0:2")
        guard.remove("-0:1")
        guard.remove("-0:2")
        until(nothing_is_told)


def nothing_is_told() -> bool:
    """Whether the list is empty, and the guard, which may lag behind, was told so."""
    guard.remove("nothing")
    one = guard._guard
    assert one is not None
    assert one._listed == set()
    return one._told == set()
