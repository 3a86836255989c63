"""Pools of helpers in programs without asyncio: threads, ends, Ctrl-C and forks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dispositions
import ipc_channel
import raw
from blocking import Call, eventually
from forks import in_child
from ipc_channel import HelperError, RequestError, UnansweredError, WrongProcessError
from ipc_channel.sync import Helper, HelperPool, PoolCounters
from pooling import COMMAND, pid_of, quiet

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def pool(size: int = 1, **options: Any) -> HelperPool:
    defaults: dict[str, Any] = {"backoff": (0.01, 0.02), "restarts": None}
    return HelperPool(quiet, size=size, **(defaults | options))


def test_threads_share_the_helpers() -> None:
    told: list[PoolCounters] = []
    with pool(2, calls_per_helper=3, on_progress=told.append) as helpers:
        calls = [Call(helpers.call, b"%d" % number) for number in range(30)]
        answers = [call.result() for call in calls]
        assert [answer.split()[1] for answer in answers] == [b"%d" % n for n in range(30)]
        helpers.drain()
        assert helpers.counters.answered == 30
        assert [one.done for one in told] == list(range(1, 31))
        with pytest.raises(RequestError, match="told to"):
            helpers.call(b"fail")
        with pytest.raises(TypeError, match="not str"):
            helpers.call("text")  # type: ignore[arg-type]
        assert "HelperPool of 2, 0 in flight, 0 wait" in repr(helpers)
        helpers.resize(1)
        assert helpers.size == len(helpers.counters.helpers) == 1
        assert helpers.call(b"x").endswith(b" x")


def test_a_helper_is_started_again_between_calls() -> None:
    with pool() as helpers:
        pid = pid_of(helpers.call(b"x"))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: helpers.counters.helpers[0].pid not in (None, pid))
        assert pid_of(helpers.call(b"x")) != pid
        with pytest.raises(UnansweredError):
            helpers.call(b"die")


@pytest.mark.parametrize("ordered", [True, False])
def test_map(ordered: bool) -> None:
    taken = 0
    thread = threading.current_thread()

    def payloads() -> Iterator[bytes]:
        nonlocal taken
        for taken in range(1, 101):
            assert threading.current_thread() is thread
            yield b"fail" if taken == 50 else b"%d" % taken

    with pool() as helpers:
        seen = []
        for answer in helpers.map(
            payloads(), ahead=10, ordered=ordered, return_exceptions=True
        ):
            if isinstance(answer, Exception):
                assert isinstance(answer, RequestError)
                seen.append(50)
            else:
                seen.append(int(answer.split()[1]))
            assert taken <= len(seen) + 10
        assert sorted(seen) == list(range(1, 101))
        assert seen == sorted(seen) or not ordered
        with pytest.raises(RequestError):
            list(helpers.map([b"x", b"fail", b"y"], ordered=ordered))
        answers = helpers.map([b"x"] + [b"sleep 1000"] * 10, ordered=ordered)
        next(answers)
        answers.close()
        helpers.drain()
        assert helpers.counters.in_flight == 0
        with pytest.raises(ValueError, match="ahead is 0"):
            helpers.map([], ahead=0)


def test_stop_fails_the_calls_that_are_left() -> None:
    with pool(calls_per_helper=1) as helpers:
        helpers.call(b"x")
        calls = [Call(helpers.call, b"sleep 1000") for _ in range(3)]
        eventually(lambda: helpers.counters.waiting == 2)
        stops = [Call(helpers.stop) for _ in range(2)]
        for call in calls:
            with pytest.raises(ipc_channel.IPCChannelError):
                call.result()
        for stop in stops:
            stop.result()
        uses: list[Callable[[], object]] = [
            lambda: helpers.call(b"x"),
            lambda: helpers.resize(2),
            lambda: list(helpers.map([b"x"])),
            helpers.drain,
        ]
        for use in uses:
            with pytest.raises(HelperError, match="was stopped"):
                use()
        helpers.stop()
        with pytest.raises(HelperError, match="entered already"):
            helpers.__enter__()
    with pytest.raises(HelperError, match="not open: write 'with'"):
        HelperPool(COMMAND).call(b"x")


def test_functions_that_the_pool_calls_must_not_wait_for_it() -> None:
    failures: list[str] = []

    def make() -> ipc_channel.Helper:
        for use in (helpers.stop, helpers.drain):
            try:
                use()
            except RuntimeError as error:
                failures.append(str(error))
        return quiet()

    helpers = HelperPool(make, size=1)
    with helpers:
        helpers.call(b"x")
    assert len(failures) == 2
    assert all("must not use the pool" in text for text in failures)


def test_a_blocking_helper_is_refused() -> None:
    made: list[Helper] = []

    def make() -> Any:
        made.append(Helper(COMMAND))
        return made[-1]

    with (
        HelperPool(make, size=1) as helpers,
        pytest.raises(HelperError, match=r"returns a new ipc_channel.Helper, not ipc_cha"),
    ):
        helpers.call(b"x")
    made[0].stop()


def test_an_exit_in_a_callback_ends_the_pool() -> None:
    """Calls of other threads must not wait for ever."""

    def leave(_: PoolCounters) -> None:
        sys.exit()

    with pool(on_progress=leave) as helpers:
        calls = [Call(helpers.call, b"x") for _ in range(3)]
        for call in calls:
            with contextlib.suppress(HelperError, SystemExit):
                call.result()
        with pytest.raises(HelperError, match="was stopped"):
            helpers.call(b"x")


def test_a_forked_child() -> None:
    with pool() as helpers:
        answers = helpers.map([b"x"])

        def work() -> None:
            uses: list[Callable[[], object]] = [
                lambda: helpers.call(b"x"),
                lambda: helpers.resize(2),
                lambda: next(answers),
                helpers.drain,
                helpers.stop,
            ]
            for use in uses:
                with pytest.raises(WrongProcessError):
                    use()
            assert helpers.counters.answered == 1
            helpers.__exit__(None, None, None)

        helpers.call(b"x")
        in_child(work)
        assert helpers.call(b"x").endswith(b" x")


PROGRAM = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from ipc_channel.sync import HelperPool
from pooling import quiet

def tell_that_all_calls_have_begun():
    while (now := helpers.counters).in_flight + now.waiting < int(sys.argv[3]):
        time.sleep(0.001)
    print("begins", flush=True)

with HelperPool(quiet, size=1) as helpers:
    helpers.call(b"x")
    threading.Thread(target=tell_that_all_calls_have_begun).start()
    try:
        if sys.argv[2] == "call":
            helpers.call(b"sleep 1000")
        elif sys.argv[2] == "map":
            list(helpers.map([b"sleep 1000"] * 5))
        else:
            list(helpers.map([b"sleep 1000"] * 5, ordered=False))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    helpers.drain()
    print(helpers.counters.failed, helpers.call(b"x").decode().split()[1], flush=True)
"""


@pytest.mark.parametrize(("within", "calls"), [("call", 1), ("map", 5), ("unordered", 5)])
def test_ctrl_c_cancels_the_calls_of_a_thread(within: str, calls: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(TESTS), within, str(calls)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions.restore,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "begins\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=raw.PATIENCE)
        assert output == f"interrupted\n{calls} x\n"
        assert process.returncode == 0
