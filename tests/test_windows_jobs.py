"""How the jobs of ``nox -s windows`` are reported: on Linux, with commands of Linux."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from on_windows import jobs, network
from on_windows.jobs import Job, run_all
from on_windows.machine import Machine

_LIMIT = 60  # seconds, for jobs that are to end by themselves


class NoMachine:
    """Stands for Wine, which these commands do not need."""

    @contextlib.contextmanager
    def switched_on(self) -> Iterator[None]:
        yield

    def end_all(self) -> None:
        pass


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file with what was printed."""
    file = tmp_path / "printed"
    file.touch()

    def note(*what: str, sep: str = " ", **_: Any) -> None:
        with file.open("a") as end:
            print(*what, sep=sep, file=end)

    monkeypatch.setitem(vars(jobs), "print", note)
    monkeypatch.setattr(network, "leave", lambda: True)
    return file


def job(name: str, *command: str, reasons: str = "") -> Job:
    return Job(name, cast(Machine, NoMachine()), command, reasons)


def until(condition: str) -> str:
    """Return the code of a program that waits."""
    return f"import os, time\nwhile not {condition}: time.sleep(0.01)"


def test_a_failed_job_is_reported_while_others_run(printed: Path, tmp_path: Path) -> None:
    bad = job("bad", "sh", "-c", "echo why it failed; exit 3", reasons="a known case")
    reported = f"'a known case' in open({str(printed)!r}).read()"
    good = job("good", sys.executable, "-c", until(reported))
    assert run_all([bad, good], 2, _LIMIT, tmp_path / "reports") == ["bad"]
    text = printed.read_text()
    assert "== bad: FAILED, with status 3, " in text
    assert text.index("a known case") < text.index("== good: good, ")
    assert text.endswith("why it failed\n")  # once more, where it is seen
    assert (tmp_path / "reports" / "bad.txt").read_text() == "why it failed\n"


def test_a_job_that_hangs_is_ended_and_says_where(printed: Path, tmp_path: Path) -> None:
    hanging = job("long", "sh", "-c", "printf test_that_hangs; exec sleep 600")
    assert run_all([hanging], 1, 2, tmp_path / "reports") == ["long"]
    text = printed.read_text()
    assert "== long: FAILED, ended after 2 s, the time limit of a job, " in text
    assert "test_that_hangs" in text


def test_a_job_that_leaves_something_running_fails(
    printed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_LAST_OUTPUT", 0.1)
    release = tmp_path / "release"
    waits = until(f"os.path.exists({str(release)!r})")
    leaving = job("bad", "sh", "-c", '"$0" "$@" &', sys.executable, "-c", waits)
    assert run_all([leaving], 1, _LIMIT, tmp_path / "reports") == ["bad"]
    release.touch()
    for thread in threading.enumerate():
        if thread.name == "output of bad":
            thread.join()
    assert "== bad: FAILED, left something running, " in printed.read_text()
