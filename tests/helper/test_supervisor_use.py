"""How a supervisor may be used, and its options."""

from __future__ import annotations

import asyncio
import copy
import re
from typing import Any

import pytest

from forks import in_child
from helper_programs import BEHAVES
from ipc_channel import Helper, HelperError, Supervisor, SupervisorEvent, WrongProcessError
from ipc_channel.helper.restarts import Restarts
from supervising import NO_PAUSE, read_all


async def test_a_loop_without_a_block_is_refused() -> None:
    """Nothing would stop the helper after a ``break``."""
    helper = Helper(BEHAVES)
    supervisor = Supervisor(helper)
    with pytest.raises(HelperError, match="async with"):
        async for _ in supervisor:
            pytest.fail("the body must not run")
    await helper.stop()


async def test_a_second_loop_is_refused() -> None:
    """Two tasks would start two helpers on one channel."""
    async with Supervisor(Helper(BEHAVES), backoff=NO_PAUSE) as supervisor:
        first = asyncio.create_task(supervisor.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(HelperError, match="another task"):
            await anext(supervisor)
        assert (await first).connected


async def test_a_helper_that_was_started_is_refused() -> None:
    """So is a supervisor that has a block already."""
    helper = Helper(BEHAVES)
    async with helper:
        with pytest.raises(HelperError, match="was started already"):
            async with Supervisor(helper):
                pytest.fail("the body must not run")
        assert helper.channel.connected
    supervisor = Supervisor(Helper(BEHAVES))
    async with supervisor:
        pass
    with pytest.raises(HelperError, match="was started already"):
        async with supervisor:
            pytest.fail("the body must not run")


WRONG: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
    ({"restarts": 1.5}, TypeError, "restarts is an int, or None"),
    ({"restarts": True}, TypeError, "restarts is an int"),
    ({"restarts": -1}, ValueError, "restarts is -1"),
    ({"period": "1"}, TypeError, "period is a number of seconds"),
    ({"backoff": 1}, TypeError, r"backoff is a pair .*, not 1"),
    ({"backoff": (1, 2, 3)}, TypeError, "backoff is a pair"),
    ({"backoff": (1, "2")}, TypeError, "backoff is a number"),
    ({"backoff": (-1, 2)}, ValueError, "backoff is -1"),
    ({"backoff": (2, 1)}, ValueError, "exceeds its longest"),
    ({"when": "never"}, ValueError, "when is 'on-failure' or 'always', not 'never'"),
    ({"health": "ping"}, TypeError, "health is a callable"),
    ({"ping": "ping"}, TypeError, "bytes-like, not str"),
    ({"ping": b""}, ValueError, "empty message"),
    ({"every": 0}, ValueError, "every is 0"),
    ({"every": -1}, ValueError, "every is -1"),
    ({"health_timeout": None}, TypeError, "health_timeout is a number"),
    ({"on_event": "print"}, TypeError, "on_event is a callable"),
)


@pytest.mark.parametrize(("options", "error", "text"), WRONG, ids=str)
async def test_options_are_checked(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """A wrong one is refused before anything is started."""
    helper = Helper(BEHAVES)
    with pytest.raises(error, match=text):
        Supervisor(helper, **options)
    await helper.stop()


def test_only_a_helper_is_supervised() -> None:
    """A command is refused, with what to write instead."""
    command: Any = BEHAVES
    with pytest.raises(TypeError, match=re.escape("pass Helper(command)")):
        Supervisor(command)


async def test_a_supervisor_is_not_copied() -> None:
    """As a helper is not."""
    supervisor = Supervisor(Helper(BEHAVES))
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        copy.copy(supervisor)
    await supervisor.stop()


async def test_a_forked_child_leaves_the_helper_alone() -> None:
    """Every use is refused in the child, which may leave the block."""
    async with Supervisor(Helper(BEHAVES), backoff=NO_PAUSE) as supervisor:
        async for channel in supervisor:

            def work() -> None:
                for use in (supervisor.stop, supervisor.__anext__, supervisor.__aenter__):
                    with pytest.raises(WrongProcessError):
                        use().send(None)
                with pytest.raises(StopIteration):
                    supervisor.__aexit__(None, None, None).send(None)

            in_child(work)
            assert channel.connected
            break
        assert supervisor.helper.process.returncode is None


async def test_a_child_that_a_supervised_service_forks_hides_no_loss() -> None:
    """The child holds no copy of the channel, so the end is seen while the child lives."""
    lives = 0
    async with Supervisor(Helper(BEHAVES), backoff=NO_PAUSE) as supervisor:
        async for channel in supervisor:
            lives += 1
            if lives == 3:
                break
            supervisor.helper.process.kill()
            in_child(lambda: None)
            await read_all(channel)


class Clock:
    """The delays of restarts at moments that a test chooses."""

    def __init__(self, *options: Any) -> None:
        self.restarts = Restarts(*options)

    def most(self, now: float, lived: float = 0) -> float:
        """Return the longest of many delays for the same loss."""
        delays = []
        for _ in range(200):
            restarts = copy.deepcopy(self.restarts)
            delay = restarts.next_delay(now, lived)
            assert delay is not None
            delays.append(delay)
        self.restarts = restarts
        assert min(delays) >= 0
        return max(delays)


def test_pauses_double_up_to_the_longest() -> None:
    """Each is random between nothing and twice what the one before could be."""
    clock = Clock(None, 60.0, (1.0, 5.0))
    for most in (1, 2, 4, 5, 5):
        assert most * 0.8 < clock.most(0) <= most


def test_a_long_life_starts_the_pauses_anew() -> None:
    """A life as long as the period does not; a longer one does."""
    clock = Clock(None, 60.0, (1.0, 500.0))
    for _ in range(5):
        clock.most(0)
    assert clock.most(0, lived=60) > 20
    assert clock.most(0, lived=60.1) <= 1


def test_restarts_are_counted_within_the_period() -> None:
    """Those that are longer ago do not count."""
    restarts = Restarts(2, 60.0, (0, 0))
    assert restarts.next_delay(0, 0) == 0
    assert restarts.next_delay(50, 0) == 0
    assert restarts.next_delay(60, 0) is None
    assert restarts.next_delay(60.1, 0) == 0
    assert restarts.next_delay(100, 0) is None
    assert restarts.next_delay(110.1, 0) == 0


def test_pauses_stay_within_the_longest_for_ever() -> None:
    """A helper that is lost a million times overflows nothing."""
    restarts = Restarts(None, 60.0, (0.1, 30.0))
    delays = [restarts.next_delay(0, 0) for _ in range(3000)]
    assert all(delay is not None and delay <= 30 for delay in delays)


def test_an_event_in_words() -> None:
    """That is what ``str`` gives, and a log has."""
    event = SupervisorEvent("starting", 1, "helper ./a is being started")
    assert str(event) == "helper ./a is being started"
    assert "text" not in repr(event)
