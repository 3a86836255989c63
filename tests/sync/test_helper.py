"""Helpers of programs without asyncio."""

from __future__ import annotations

import gc
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from blocking import Call, driver_of, until_waiting
from descriptors import open_descriptors
from flood import Interrupt
from forks import in_child
from helper_programs import BEHAVES, DIES, IGNORES, SLEEPS, program
from ipc_channel import ChannelClosedError, HelperError, WrongProcessError
from ipc_channel.helper.child import reap_abandoned
from ipc_channel.sync import Helper, make_ipc_channel, make_ipc_channel_client
from library_helpers import ECHO
from process_tree import children
from raw import PATIENCE

_PROGRAM = """
from ipc_channel.sync import from_environment, make_ipc_channel_client

with make_ipc_channel_client(*from_environment()) as channel:
    for message in channel:
        channel.write(message)
"""
BLOCKING_ECHO = [sys.executable, "-c", _PROGRAM]


@pytest.mark.parametrize("command", [ECHO, BLOCKING_ECHO], ids=["asyncio", "blocking"])
def test_echo(transport: Any, command: list[str]) -> None:
    before = open_descriptors()
    helper = Helper(command, make_ipc_channel(transport=transport))
    with helper as channel:
        assert channel is helper.channel
        for message in (b"one", b"two" * 100_000):
            channel.write(message)
            assert channel.read() == message
        assert helper.process.returncode is None
        with pytest.raises(TimeoutError):
            helper.process.wait(0.01)
        assert f"pid {helper.process.pid}" in repr(helper)
    assert helper.process.returncode == 0
    assert helper.process.wait() == 0
    assert helper.process.wait(0) == 0
    assert helper.stop() == 0
    assert open_descriptors() == before


def test_start_and_stop() -> None:
    before = open_descriptors()
    helper = Helper(BEHAVES)
    with pytest.raises(HelperError, match="not started"):
        _ = helper.process
    channel = helper.start()
    assert channel.connected
    with pytest.raises(HelperError, match="is running"):
        helper.start()
    assert helper.stop() == 0
    with pytest.raises(ChannelClosedError):
        helper.start()
    assert open_descriptors() == before


def test_stop_before_start() -> None:
    before = open_descriptors()
    helper = Helper(BEHAVES)
    assert helper.stop() is None
    assert open_descriptors() == before


def test_a_helper_is_restarted_on_the_same_channel(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    for number in range(3):
        channel = helper.start()
        channel.write(b"%d" % number)
        assert channel.read() == b"%d" % number
        helper.process.send_signal(signal.SIGKILL)
        assert channel.read() is None
        assert channel.end_reason == "eof"
    assert helper.stop() == -signal.SIGKILL


def test_a_helper_that_ends_before_it_connects() -> None:
    before = open_descriptors()
    helper = Helper(DIES)
    with pytest.raises(HelperError, match="status 3"):
        helper.start()
    assert helper.process.wait() == 3
    with pytest.raises(HelperError, match="status 3"), helper:
        pass
    helper.stop()
    assert open_descriptors() == before


def test_a_helper_that_does_not_connect_in_time() -> None:
    helper = Helper(SLEEPS, timeout=0.01)
    with pytest.raises(HelperError), helper:
        pass
    assert helper.process.returncode == -signal.SIGTERM
    assert children() == []


def test_a_command_that_is_none() -> None:
    before = open_descriptors()
    with pytest.raises(HelperError, match="/none"), Helper(["/none"]):
        pass
    gc.collect()
    assert open_descriptors() == before


def test_grace() -> None:
    """A helper that ignores its end and SIGTERM is killed."""
    begin = time.monotonic()
    helper = Helper(IGNORES, grace=0.1)
    with helper as channel:
        assert channel.read() == b"deaf"
    assert helper.process.returncode == -signal.SIGKILL
    assert time.monotonic() - begin >= 0.2


def test_the_channel_is_closed_within_the_block() -> None:
    before = open_descriptors()
    helper = Helper(BEHAVES)
    with helper as channel:
        channel.close()
        channel.close()
        assert helper.process.wait(PATIENCE) == 0
    assert helper.process.returncode == 0
    assert open_descriptors() == before


def test_the_user_ends_the_process_within_the_block() -> None:
    helper = Helper(BEHAVES)
    with helper as channel:
        helper.process.terminate()
        assert helper.process.wait() == -signal.SIGTERM
        assert channel.read() is None
        with pytest.raises(ProcessLookupError):
            helper.process.kill()
    assert helper.stop() == -signal.SIGTERM


def test_threads_wait_for_the_process_and_the_channel() -> None:
    helper = Helper(BEHAVES)
    with helper as channel:
        waiting = [Call(helper.process.wait) for _ in range(3)]
        reading = [Call(channel.read) for _ in range(3)]
        until_waiting(channel, 6)
        assert not any(one.done() for one in waiting)
        helper.process.kill()
        assert [one.result() for one in waiting] == [-signal.SIGKILL] * 3
        assert [one.result() for one in reading] == [None] * 3


def test_stop_from_another_thread() -> None:
    before = open_descriptors()
    for _ in range(10):
        helper = Helper(BEHAVES)
        channel = helper.start()
        waiting, reading = Call(helper.process.wait), Call(channel.read)
        until_waiting(channel, 2)
        stopping = [Call(helper.stop) for _ in range(8)]
        assert [one.result() for one in stopping] == [0] * 8
        assert waiting.result() == 0
        assert reading.result() is None
        assert not driver_of(channel).waiting
        assert open_descriptors() == before


def test_stop_ends_a_start_in_another_thread() -> None:
    helper = Helper(SLEEPS, timeout=PATIENCE, grace=0.1)
    starting = Call(helper.start)
    until_waiting(helper.channel)
    with pytest.raises(HelperError, match="being started"):
        helper.start()
    helper.stop()
    assert isinstance(starting.error(), HelperError)
    assert children() == []


@pytest.mark.parametrize("within", ["start", "block", "stop"])
def test_an_interrupt_leaves_no_process(within: str) -> None:
    command = {"start": SLEEPS, "block": BEHAVES, "stop": IGNORES}[within]
    before = open_descriptors()
    helper = Helper(command, timeout=PATIENCE, grace=PATIENCE)
    begun: list[str] = []

    def handle(*_: object) -> None:
        if driver_of(helper.channel).loop.busy:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        else:
            begun.append("interrupted")
            raise Interrupt

    previous = signal.signal(signal.SIGALRM, handle)
    try:
        with pytest.raises(Interrupt):
            if within == "start":
                signal.setitimer(signal.ITIMER_REAL, 0.1)
            with helper as channel:
                if within == "block":
                    signal.setitimer(signal.ITIMER_REAL, 0.05)
                    channel.read()
                assert channel.read() == b"deaf"
                signal.setitimer(signal.ITIMER_REAL, 0.05)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert begun == ["interrupted"]
    assert helper.process.returncode == (0 if within == "block" else -signal.SIGKILL)
    assert children() == []
    assert open_descriptors() == before


def test_a_helper_that_is_dropped_is_killed() -> None:
    before = open_descriptors()
    helper = Helper(BEHAVES)
    channel = helper.start()
    killed = pytest.warns(ResourceWarning, match="was killed")
    with killed, pytest.warns(ResourceWarning, match="unclosed"):
        del helper, channel
        gc.collect()
    deadline = time.monotonic() + PATIENCE
    while children():
        assert time.monotonic() < deadline
        reap_abandoned()
    assert open_descriptors() == before


def test_in_a_forked_child() -> None:
    helper = Helper(BEHAVES)
    with helper as channel:

        def work() -> None:
            for use in (helper.start, helper.stop, helper.process.wait, channel.read):
                with pytest.raises(WrongProcessError):
                    use()
            helper.__exit__(None, None, None)

        in_child(work)
        assert channel.connected
        assert helper.process.returncode is None
    assert helper.process.returncode == 0


def test_a_helper_has_arguments_directory_and_environment(tmp_path: Path) -> None:
    code = 'import os, sys\nsys.exit(os.getcwd() != os.environ["WANTED"])'
    helper = Helper(program(code), cwd=tmp_path, env={"WANTED": str(tmp_path)})
    with pytest.raises(HelperError, match="status 0"):
        helper.start()
    helper.stop()


def test_neither_a_client_nor_anything_else_is_a_server() -> None:
    client: Any = make_ipc_channel_client("unix:/none", "unix:/none")
    wrong: Any
    for wrong in (client, "channel"):
        with pytest.raises(TypeError, match="blocking server"):
            Helper(BEHAVES, wrong)
    client.close()
