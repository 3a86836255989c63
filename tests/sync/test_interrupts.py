"""An exception at any opcode of a blocking write, read or close, as of a signal handler.

Whatever is raised, and wherever: no message comes twice, torn or out of order, none is lost
in the middle, and nothing hangs or stays open.
"""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator

import pytest

from blocking_flood import BlockingFlood
from conftest import Complaints
from flood import Interrupt, Wire
from injector import SignalInjector, release_locks

# Python 3.13 says so of a buffer of which an interrupt has left a view.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def interrupt_at(transport: str, kind: str, due: int) -> None:
    """Run a flood that is interrupted once, and check it."""
    flood = BlockingFlood(Wire(transport), kind)
    injector = SignalInjector(due)
    try:
        try:
            with injector:
                flood.work()
        except Interrupt:
            pass
        flood.go_on()
        flood.check(missing=0)
    except BaseException as error:
        error.add_note(f"interrupted at {injector.at}, opcode event {due}")
        raise
    finally:
        flood.wire.close()
        flood.forget()


@pytest.fixture(autouse=True)
def no_callback_fails() -> Iterator[None]:
    """But a task may be interrupted while it is being made, and then nobody has it."""
    complaints = Complaints()
    logger = logging.getLogger("ipc_channel")
    logger.addHandler(complaints)
    yield
    logger.removeHandler(complaints)
    assert set(complaints.texts) <= {"Task was destroyed but it is pending!"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let coroutines that an interrupt has cut short go without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()
        gc.disable()  # what is collected under a trace function is no part of this
        yield
        gc.enable()
        gc.collect()
        release_locks()


def moments(transport: str, kind: str) -> int:
    """Return how many there are in a flood without an interrupt."""
    for _ in range(2):  # Python 3.12 does not trace the first time
        flood = BlockingFlood(Wire(transport), kind)
        with SignalInjector(0) as injector:
            flood.work()
        flood.go_on()
        flood.check(missing=0)
        flood.wire.close()
    return len(injector.passed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["write", "write_many", "read", "close"])
def test_at_every_moment(transport: str, kind: str) -> None:
    count = moments(transport, kind)
    assert count > 50
    for due in range(1, count + 1):
        interrupt_at(transport, kind, due)
        if due % 100 == 0:
            gc.collect()
