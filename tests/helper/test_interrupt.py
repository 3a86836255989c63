"""A signal handler that raises while a helper is being started leaves no process behind."""

from __future__ import annotations

import gc
import time
import traceback
import warnings
from collections.abc import Iterator

import pytest

from flood import Interrupt
from injector import Injector, release_locks
from ipc_channel.helper.child import reap_abandoned
from ipc_channel.helper.command import Command
from ipc_channel.helper.posix_process import PosixChild
from process_tree import children
from raw import PATIENCE

SLEEPS = ["/bin/sleep", "1000"]


class InjectorAt(Injector):
    """Raises :class:`Interrupt` at the first opcode at ``place``.

    How many come before is not the same each time: the library has caches.
    """

    def __init__(self, place: tuple[str, int] | None) -> None:
        super().__init__(0)
        self.place = place

    def _is_due(self) -> bool:
        return self.passed[-1] == self.place


def start(
    cwd: str | None, place: tuple[str, int] | None = None
) -> tuple[Injector, Interrupt | None]:
    """Start a process, and keep no reference to it."""
    command = Command(SLEEPS, env=None, cwd=cwd, process_group=True)
    try:
        with InjectorAt(place) as injector:
            _ = command.start({})
    except Interrupt as error:
        return injector, error
    return injector, None


def wait_until_nothing_is_left(before: list[int], struck: str | None) -> None:
    """Wait until the processes that were started since have ended, and reap them."""
    deadline = time.monotonic() + PATIENCE
    while children() != before:
        assert time.monotonic() < deadline, f"interrupted in {struck}"
        reap_abandoned()


def is_within_the_start(error: Interrupt) -> bool:
    code = PosixChild.start.__code__
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Let a process that nothing stops go without a warning, and collect nothing else."""
    gc.collect()
    gc.disable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
    gc.enable()
    gc.collect()
    release_locks()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("cwd", [None, "/"])
def test_nothing_is_left_wherever_an_interrupt_strikes(cwd: str | None) -> None:
    reap_abandoned()
    before = children()
    for _ in range(2):  # the first one loads and caches what it needs
        injector, _ = start(cwd)
        wait_until_nothing_is_left(before, None)
    places = dict.fromkeys(injector.passed)
    assert len(places) > 200, "there was hardly anything to interrupt"
    for place in places:
        injector, error = start(cwd, place)
        assert (error is None) == (injector.at is None)
        if error is not None and is_within_the_start(error):  # and has not ended with it
            wait_until_nothing_is_left(before, injector.at)
        error = None
        wait_until_nothing_is_left(before, injector.at)
