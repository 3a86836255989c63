"""The pairs of the benchmarks: what is wrong is noticed, and all processes end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dispositions
from benchmarks.async_end import fill
from benchmarks.build import Tools, c_compiler
from benchmarks.contenders import BY_NAME, Contender
from benchmarks.machine import pick_cores
from benchmarks.processes import Pair, PairError, Process, with_harness
from benchmarks.wrong_end import SIZE

NO_CORES = (None, None)


class Wrong(Tools):
    """Tools whose peer is wrong in one way; the wire of C is that of Python."""

    way = ""

    def peer(self, contender: Contender, directory: str, channels: int) -> list[str]:
        name = contender.name.replace("-c", "-python")
        arguments = (self.way, "peer", name, directory, str(channels))
        return [sys.executable, "-m", "benchmarks.wrong_end", *arguments]


SENT = r"sent \d+ bytes and got|helper: hello"
DRIVERS = (
    "limit-tcp-python",
    "ipc-pipe-asyncio",
    pytest.param(
        "limit-tcp-c", marks=pytest.mark.skipif(not c_compiler(), reason="no C compiler")
    ),
)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Wrong:
    tools = Wrong(directory=str(tmp_path_factory.mktemp("built")))
    if c_compiler():
        tools.build([BY_NAME["limit-tcp-c"]])
    return tools


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize(
    "way", ("hello", "first byte", "short", "long", "empty", "lost", "double", "all bytes")
)
def test_a_wrong_echo_is_a_failure(
    name: str, way: str, wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "lost":
        monkeypatch.setattr("benchmarks.processes.PATIENCE", 2)
    monkeypatch.setattr(wrong, "way", way)
    with (
        pytest.raises(PairError, match="no answer" if way == "lost" else SENT),
        Pair(BY_NAME[name], wrong, NO_CORES) as pair,
    ):
        pair.order("round_trip", 6, SIZE)


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("kind", ("one_way", "both"))
def test_a_wrong_total_is_a_failure(
    name: str, kind: str, wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrong, "way", "total")
    with (
        pytest.raises(PairError, match=SENT),
        Pair(BY_NAME[name], wrong, NO_CORES) as pair,
    ):
        pair.order(kind, 6, SIZE)


@pytest.mark.parametrize(
    "answer, problem",
    [
        ('{"order": 1}', None),
        ('{"order": 2}', "order 1 got the answer to order 2"),
        ('{"ns": 1}', "no 'order' in an answer"),
        ("[1]", r"no answer: '\[1\]'"),
        ("a library's word" + 300 * "!", 'no answer: "a library\'s word!{184}"$'),
    ],
)
def test_an_answer_to_no_order_is_a_failure(answer: str, problem: str | None) -> None:
    script = (
        'echo \'{"address": []}\'; read go; echo \'{"first": 1}\'; read order; echo "$0"'
    )

    class Answering(Tools):
        def driver(self, contender: Contender, directory: str, channels: int) -> list[str]:
            return ["sh", "-c", script, answer]

        def peer(self, contender: Contender, directory: str, channels: int) -> list[str]:
            return self.driver(contender, directory, channels)

    with (
        pytest.raises(PairError, match=problem) if problem else contextlib.nullcontext(),
        Pair(BY_NAME["limit-tcp-python"], Answering(), NO_CORES) as pair,
    ):
        assert pair.order("round_trip", 1, 1) == {}


async def test_a_channel_that_takes_nothing_is_a_failure() -> None:
    class Full:
        async def write(self, data: bytes) -> None:
            if data != b"stall":
                await asyncio.Event().wait()

    with pytest.raises(ValueError, match="nothing was written"):
        await fill([Full()], 1)  # type: ignore[list-item]  # all that fill uses


def test_a_bad_end_is_a_failure() -> None:
    class BadEnd(Tools):
        def driver(self, contender: Contender, directory: str, channels: int) -> list[str]:
            command = super().driver(contender, directory, channels)
            return ["sh", "-c", '"$@"; exit 4', "sh", *command]

    with (
        pytest.raises(PairError, match="driver ended with status 4"),
        Pair(BY_NAME["limit-tcp-python"], BadEnd(), NO_CORES) as pair,
    ):
        pair.order("round_trip", 1, 1)


@pytest.mark.parametrize(
    "threads, driver, peer",
    [
        ("0", None, None),
        ("0 1", {0}, {1}),
        ("0,1", {0}, {1}),  # of one hardware core
        ("0 1 2", {0}, {1}),
        ("0 1 2 3", {0, 2}, {1, 3}),
        ("0,2 1,3", {0, 2}, {1, 3}),
        ("0,3 1,4 2,5", {0, 3}, {1, 4}),
    ],
)
def test_driver_and_peer_have_half_of_the_hardware_each(
    threads: str,
    driver: set[int] | None,
    peer: set[int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    siblings = {int(core): unit for unit in threads.split() for core in unit.split(",")}
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(siblings), raising=False)
    monkeypatch.setattr("benchmarks.machine._siblings", siblings.__getitem__)
    assert pick_cores() == (driver, peer)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no pinning here")
def test_a_process_is_pinned_from_its_start(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    tell = "import json, os; print(json.dumps({'cores': list(os.sched_getaffinity(0))}))"
    process = Process([sys.executable, "-c", tell], str(tmp_path), frozenset((core,)))
    try:
        assert process.hear(10) == {"cores": [core]}
    finally:
        process.end()


ENDED = """
import sys, time
from benchmarks.build import Tools
from benchmarks.contenders import BY_NAME
from benchmarks.processes import Pair
pair = Pair(BY_NAME[sys.argv[1]], Tools(), (None, None))
pair.__enter__()
if sys.argv[1] == "ipc-pipe-asyncio":
    pair.order("stall", 0, 1024)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not with_harness(), reason="setpriv is missing")
@pytest.mark.parametrize("name", ("ipc-pipe-asyncio", "limit-tcp-python"))
def test_no_process_outlives_a_harness_that_is_killed(name: str, tmp_path: Path) -> None:
    with start(["-c", ENDED, name], tmp_path) as harness:
        assert harness.stdout
        assert harness.stdout.readline() == b"ready\n"
        assert len(processes_in(tmp_path)) == 2
        harness.kill()
        wait_until(lambda: not processes_in(tmp_path))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
@pytest.mark.parametrize("ending", (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
def test_nothing_is_left_of_a_run_that_is_ended(
    ending: signal.Signals, tmp_path: Path
) -> None:
    names = ("-c", "ipc-pipe-asyncio", "-c", "limit-tcp-python")
    with start(["-m", "benchmarks", *names], tmp_path) as harness:
        wait_until(lambda: len(processes_in(tmp_path)) == 4)
        harness.send_signal(ending)
        assert harness.wait(20) != 0
        assert processes_in(tmp_path) == []
        assert list(tmp_path.iterdir()) == []


def start(arguments: list[str], directory: Path) -> subprocess.Popen[bytes]:
    """Start Python as a harness that works in ``directory``."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(directory)}
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, preexec_fn=dispositions.restore
    )


def processes_in(directory: Path) -> list[str]:
    """Return the processes of pairs, which have their directory as an argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = process.read_text(errors="replace")
            if str(directory) in text:
                found.append(text)
    return found


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
