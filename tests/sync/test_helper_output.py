"""The output of helpers in programs without asyncio: read between calls as well."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from forks import in_child
from helper_programs import connected
from ipc_channel import HelperError
from ipc_channel.sync import Helper
from raw import PATIENCE

END = "while os.read(r, 1 << 16): pass\n"


def output_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "ipc-channel-output"]


def test_lines_come_while_no_call_waits() -> None:
    """The helper writes more than a pipe holds, and the service calls nothing."""
    before = open_descriptors()
    all_there = threading.Event()
    seen: list[str] = []

    def take(line: str) -> None:
        seen.append(line)
        if line == "last":
            all_there.set()

    code = (
        "for n in range(2000): os.write(2, b'z' * 99 + b'\\n')\nos.write(2, b'last\\n')\n"
    )
    with Helper(connected(code + END), stderr=take, timeout=PATIENCE, grace=PATIENCE):
        assert all_there.wait(PATIENCE)
        assert len(output_threads()) == 1
    assert len(seen) == 2001
    assert not output_threads()
    assert open_descriptors() == before


def test_one_thread_reads_for_all_helpers() -> None:
    helpers = [Helper(connected(END), timeout=PATIENCE) for _ in range(5)]
    for helper in helpers:
        helper.start()
    assert len(output_threads()) == 1
    for helper in helpers:
        helper.stop()
    assert not output_threads()


def test_an_inherited_output_takes_no_thread() -> None:
    with Helper(connected(END), stderr="inherit", timeout=PATIENCE):
        assert not output_threads()


def test_a_failure_shows_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = r"os.write(w, b'\0\0\0\0'); raise SystemExit('no beans')"
    helper = Helper(connected(code), stderr=log, timeout=PATIENCE)
    with (
        pytest.raises(HelperError, match=r"status 1 after .*\n    no beans"),
        helper as channel,
    ):
        assert channel.read() is None
    assert helper.result is not None
    assert helper.result.last_lines == ("no beans",)
    assert log.read_text() == "no beans\n"


def test_a_function_may_stop_the_helper() -> None:
    stopped = threading.Event()

    def take(line: str) -> None:
        helper.stop()
        stopped.set()

    helper = Helper(
        connected(r"os.write(2, b'x\n')" + "\n" + END), stderr=take, timeout=PATIENCE
    )
    with contextlib.suppress(HelperError):  # that it was stopped while it was being started
        helper.start()
    assert stopped.wait(PATIENCE)
    assert helper.stop() in (0, -signal.SIGTERM)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a thread runs
def test_a_forked_child_may_have_helpers_of_its_own() -> None:
    seen: list[str] = []

    def in_the_child() -> None:
        lines: list[str] = []
        code = r"os.write(2, b'child\n')" + "\n" + END
        with Helper(connected(code), stderr=lines.append, timeout=PATIENCE):
            pass
        assert lines == ["child"]

    code = r"os.write(2, b'parent\n')" + "\n" + END
    with Helper(connected(code), stderr=seen.append, timeout=PATIENCE) as channel:
        in_child(in_the_child)
        assert channel.connected
    assert seen == ["parent"]


def test_by_hand(capsys: Any) -> None:
    helper = Helper(["./helper"], attach=True, timeout=0)
    errors: list[BaseException] = []

    def start() -> None:
        try:
            helper.start()
        except HelperError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    while "./helper" not in capsys.readouterr().err:
        pass
    helper.stop()
    thread.join()
    assert "was stopped" in str(errors)
