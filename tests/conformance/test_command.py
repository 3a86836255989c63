"""What the command says and does when something is wrong with the testee, or around it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from conformance.running import RIGHT, WRONG, run, run_suite, statuses
from ipc_channel.conformance import cases, requirements
from ipc_channel.conformance.case import CATALOGUE, TRANSPORTS

COMMAND = [sys.executable, "-m", "ipc_channel.cli", "conformance"]
GREETING = (
    "import os, signal, sys, time\n"
    'print(\'{"language": 1, "name": "bad", "can": ["named_pipe", "unix", "tcp", "concurrent"]}\','
    " flush=True)\n"
)
FIRST = "connect/server-first"


def bad_testee(code: str) -> list[str]:
    return [sys.executable, "-c", GREETING + code]


DEAD = "for line in sys.stdin: os.kill(os.getpid(), signal.SIGPIPE)"
SILENT = "for line in sys.stdin: print('it says why', file=sys.stderr, flush=True)"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            f"signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n{DEAD}",
            "was killed by SIGPIPE: ignore",
        ),
        ("for line in sys.stdin: sys.exit(7)", "ended with status 7 before it connected"),
        (SILENT, "it says why"),
    ],
    ids=["killed", "ended", "silent"],
)
def test_a_testee_that_does_nothing_right_is_told_at_once(code: str, text: str) -> None:
    done = run("conformance", "--timeout", "2", "--", *bad_testee(code))
    assert done.returncode == 1
    assert text in done.stdout
    assert (
        f"skipped {len(CATALOGUE) - len(TRANSPORTS)}: {FIRST} does not pass" in done.stdout
    )


def test_the_first_check_can_be_left_out(tmp_path: Path) -> None:
    options = ["--no-first-check", "--run", "framing/receive/*", "--timeout", "1"]
    _, report = run_suite(tmp_path, *options, testee=bad_testee("sys.stdin.read()"))
    assert set(statuses(report).values()) == {"failed"}


def test_the_first_check_of_cases_that_were_not_asked_for(tmp_path: Path) -> None:
    options = ["--run", "framing/receive/*", "--timeout", "1"]
    _, report = run_suite(tmp_path, *options, testee=bad_testee("sys.stdin.read()"))
    found = statuses(report)
    failed = {case for case, status in found.items() if status == "failed"}
    assert failed == {f"{FIRST} [{transport}]" for transport in TRANSPORTS}
    assert "skipped" in found.values()


def test_no_more_cases_are_begun_after_so_many_failures(tmp_path: Path) -> None:
    options = ["--no-first-check", "--max-failures", "3", "--jobs", "1", "--timeout", "1"]
    status, report = run_suite(
        tmp_path, *options, "--transport", "tcp", testee=bad_testee("sys.stdin.read()")
    )
    assert status == 1
    assert report["counts"]["failed"] == 3
    assert "3 cases had failed" in report["results"][-1]["what"]


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_impossible_numbers_of_failures(number: str) -> None:
    done = run("conformance", "--max-failures", number, "--", *RIGHT)
    assert done.returncode == 2
    assert f"{number!r} is not a number from 1 on" in done.stderr


def only_should() -> list[str]:
    ids = {case.id for case in CATALOGUE}
    musts = {case.id for case in CATALOGUE if case.level == "MUST"}
    return [option for id_ in sorted(ids - musts) for option in ("--run", id_)]


def test_a_run_without_a_must_decides_nothing(tmp_path: Path) -> None:
    options = ["--run", "connect/pipes/half-a-server"]
    status, report = run_suite(tmp_path, *options, testee=RIGHT)
    assert status == 0
    assert report["verdict"] == "undecided"
    done = run("conformance", *options, "--", *RIGHT)
    assert "undecided, since no case of a MUST has run: 1 passed" in done.stdout


def test_what_conforms_strictly_is_told_so(tmp_path: Path) -> None:
    badge = tmp_path / "badge.svg"
    options = ["--run", FIRST, "--report", str(badge)]
    status, report = run_suite(tmp_path, *options, testee=RIGHT)
    assert status == 0
    assert report["verdict"] == "conforms strictly"
    picture = ET.fromstring(badge.read_text("utf-8"))
    assert picture.get("aria-label") == (
        f"ipc-channel: conforms strictly, {len(TRANSPORTS)} of {len(CATALOGUE)} cases"
    )


def test_a_should_that_is_not_done_is_no_strict_conformance(tmp_path: Path) -> None:
    options = ["--run", FIRST, "--run", "connect/pipes/half-a-server"]
    status, report = run_suite(tmp_path, *options, testee=[*WRONG, "counts-half-a-server"])
    assert status == 0
    assert report["verdict"] == "conforms"


def test_requirements_without_a_case_are_named(tmp_path: Path) -> None:
    assert cases.__all__  # which fill the catalogue
    _, report = run_suite(tmp_path, "--run", FIRST, testee=RIGHT)
    asked = requirements.of_client(("named_pipe", "tcp"), ("cancel", "requests"))
    covered = {id_ for case in CATALOGUE for id_ in case.covers}
    assert report["unchecked"] == requirements.unchecked(asked, covered) == []
    of_tcp = {one.id for one in requirements.of_client(("tcp",))}
    assert "RDV-43" in of_tcp
    assert "RDV-21" not in of_tcp
    ids = {one.id for one in asked}
    assert {"FRM-1", "RDV-21", "RDV-43", "SES-31", "REQ-1", "REQ-16"} <= ids
    without = {one.id for one in requirements.of_client(("named_pipe", "tcp"), ("cancel",))}
    assert ids - without == {f"REQ-{number}" for number in range(1, 18)}
    assert not {"RDV-13", "RDV-20", "RDV-27", "RDV-40", "RDV-42", "RDV-50", "RDV-51"} & ids
    assert {one.level for one in asked} == {"MUST", "SHOULD", "MAY"}


@pytest.mark.parametrize("to", ["| head -n 1", "> /dev/full", ">&-"])
def test_reports_are_written_whatever_becomes_of_the_output(
    to: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = f'"$@" {to}; true'
    options = ["--run", FIRST, "--report", str(report), "--", *RIGHT]
    done = subprocess.run(
        ["bash", "-c", command, "bash", *COMMAND, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(report.read_text("utf-8"))["counts"] == {"passed": len(TRANSPORTS)}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("to", "status", "text"),
    [("| head -n 1 > /dev/null", 0, ""), ("> /dev/full", 2, "No space left on device")],
)
def test_the_list_may_be_cut_off(to: str, status: int, text: str) -> None:
    command = f'set -o pipefail; "$@" {to}'
    done = subprocess.run(
        ["bash", "-c", command, "bash", *COMMAND, "--list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_by_a_signal_says_so(
    number: signal.Signals, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    code = f"open({str(begun)!r}, 'w').close()\nsys.stdin.read()"

    def defaults() -> None:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_DFL)

    with subprocess.Popen(
        [*COMMAND, "--", *bad_testee(code)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=defaults,  # nothing else runs in this process
    ) as suite:
        while not begun.exists():
            assert suite.poll() is None
            time.sleep(0.01)
        os.kill(suite.pid, number)
        _, errors = suite.communicate(timeout=60)
    assert suite.returncode == 128 + number
    assert b"Traceback" not in errors


def test_a_seed_repeats_a_run(tmp_path: Path) -> None:
    def sizes(seed: int) -> Any:
        log = tmp_path / f"log-{time.monotonic_ns()}"
        code = f"tee -a {shlex.quote(str(log))} | {shlex.join(RIGHT)}"
        options = [
            "--seed",
            str(seed),
            "--run",
            "load/*",
            "--transport",
            "tcp",
            "--jobs",
            "1",
        ]
        status, report = run_suite(tmp_path, *options, testee=["sh", "-c", code])
        assert status == 0, report
        lines = map(json.loads, log.read_text().splitlines())
        return [line["sizes"] for line in lines if line.get("do") == "write"]

    first = sizes(1)
    assert first
    assert sizes(1) == first
    assert sizes(2) != first
