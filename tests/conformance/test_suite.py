"""The suite itself: what it finds, what can be asked of it, and what it reports."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import requirements
from conformance.running import RIGHT, WRONG, results_of, run, run_suite, statuses
from conformance.wrong import FAULTS
from ipc_channel.conformance import cases
from ipc_channel.conformance.case import CATALOGUE, TRANSPORTS
from ipc_channel.conformance.runner import Result
from odd_paths import make_long


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_client_is_found(fault: str) -> None:
    _, ids = FAULTS[fault]
    failed: list[Result] = []
    # One transport is enough, if they all show it: each fault begins with another one.
    first = list(FAULTS).index(fault) % len(TRANSPORTS)
    for transport in (*TRANSPORTS[first:], *TRANSPORTS[:first]):
        if left := set(ids) - {result.case.id for result in failed}:
            # Some fail the first check as well, but each of their own cases has to find them.
            results = results_of([*WRONG, fault], sorted(left), [transport])
            failed += (result for result in results if result.is_red)
    assert {result.case.id for result in failed} == set(ids)
    assert all(result.expected and result.actual for result in failed)
    assert "an error of the suite itself" not in {result.what for result in failed}


@pytest.mark.parametrize(
    "fault", ["follows-a-link-to-the-socket", "loses-bytes-of-its-paths"]
)
def test_a_wrong_client_is_found_from_a_long_directory(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client refuses a path that is too long, whatever is there."""
    monkeypatch.setattr(tempfile, "tempdir", make_long(tmp_path, 200))
    test_a_wrong_client_is_found(fault)


@pytest.mark.parametrize("fault", ["leaks-descriptors", "memory-by-the-header"])
def test_a_wrong_client_in_a_wrapper_is_found(fault: str, tmp_path: Path) -> None:
    _, (id_, *_) = FAULTS[fault]
    testee = ["sh", "-c", f"{shlex.join([*WRONG, fault])}; true"]
    status, report = run_suite(tmp_path, "--run", id_, "--timeout", "4", testee=testee)
    assert status == 1
    assert "failed" in statuses(report).values()


@pytest.mark.parametrize("do", ["read", "write", "close"])
def test_a_testee_that_is_killed_leaves_no_error_of_the_suite(do: str) -> None:
    """A case has tasks of its own under way then, which are looked after as well."""
    dies = f"""
import asyncio, os, signal
from ipc_channel.conformance.python_testee import Testee
async def die(self, told):
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
Testee.do_{do} = die
asyncio.run(Testee().run())
"""
    options = ["--run", "lifecycle/close", "--run", "flow", "--run", "load/echo"]
    options += ["--transport", "named_pipe", "--timeout", "3"]
    done = run("conformance", *options, "--", sys.executable, "-c", dies)
    assert done.returncode == 1
    assert "never retrieved" not in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "an error of the suite itself" not in done.stdout


def test_the_catalogue_is_sound() -> None:
    assert cases.__all__
    names = [case.name for case in CATALOGUE]
    assert len(names) == len(set(names))
    assert len({case.id for case in CATALOGUE}) >= 80
    known = requirements.requirements()
    for case in CATALOGUE:
        assert set(case.covers) <= set(known), case.name
        assert case.covers, case.name
        assert case.text.endswith("."), case.name


def test_every_fault_names_a_case() -> None:
    assert len(FAULTS) >= 20
    assert {id_ for _, ids in FAULTS.values() for id_ in ids} <= {
        case.id for case in CATALOGUE
    }


def test_what_is_asked_for_is_run(tmp_path: Path) -> None:
    options = ["--run", "ends", "--skip", "ends/half/*", "--skip", "*reset*"]
    options += ["--transport", "named_pipe"]
    status, report = run_suite(tmp_path, *options, testee=RIGHT)
    assert status == 0
    found = statuses(report)
    assert "ends/third-writer [named_pipe]" in found
    assert set(found.values()) == {"passed"}
    assert not any("half" in name or "tcp" in name or "limits" in name for name in found)


def test_a_known_failure_is_no_failure_until_it_passes(tmp_path: Path) -> None:
    known = tmp_path / "known.txt"
    known.write_text("ends/payload-eof  # not yet\nends/close-eof [tcp]\n")
    options = ["--run", "ends/payload-eof", "--run", "ends/close-eof"]
    options += ["--known-failing", str(known)]
    fault = "end-inside-a-frame-looks-clean"
    status, report = run_suite(tmp_path, *options, testee=[*WRONG, fault])
    assert status == 1
    assert statuses(report) == {
        "ends/payload-eof [named_pipe]": "known",
        "ends/payload-eof [unix]": "known",
        "ends/payload-eof [tcp]": "known",
        "ends/close-eof [named_pipe]": "passed",
        "ends/close-eof [unix]": "passed",
        "ends/close-eof [tcp]": "fixed",
    }
    status, _ = run_suite(
        tmp_path, *options, "--skip", "ends/close-eof", testee=[*WRONG, fault]
    )
    assert status == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--run", "pigeons/*", "--", "true"], "no case matches 'pigeons/*'"),
        (["--skip", "*", "--", "true"], "no case matches what was asked for"),
        ([], "there is no COMMAND"),
        (["--", "/no/such/program"], "does not start: No such file"),
        (["--", "true"], "it did not greet"),
        (["--", "echo", "hello"], "print only answers to standard output"),
        (["--", "echo", '{"language": 2}'], "language 2, not 1"),
        (
            ["--", "echo", '{"language": 1, "name": "x", "can": ["fly"]}'],
            "unknown abilities",
        ),
        (["--known-failing", "/no/such/file", "--", "true"], "No such file"),
        (["--timeout", "0", "--", "true"], "'0' is not within 0 and 3600 seconds"),
        (["--jobs", "0", "--", "true"], "'0' is not a number from 1 to 64"),
        (["--report", "report.doc", "--", "true"], "ends with none of"),
        (["--timeout", "0.2", "--", "sleep", "9"], "did not greet within 0.2 s"),
    ],
)
def test_nothing_can_be_run(arguments: list[str], text: str) -> None:
    done = run("conformance", *arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_a_machine_without_a_temporary_directory() -> None:
    code = """
import sys, tempfile
from ipc_channel import cli
tempfile._candidate_tempdir_list = lambda: ["/nowhere"]
sys.exit(cli.main(["conformance", "--", "true"]))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the cases need a temporary directory: " in done.stderr
    assert "'/nowhere'" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_a_wrapper_writes_after_the_testee_has_ended_is_shown() -> None:
    filtering = "(sleep 0.2; echo why it ended >&2) >/dev/null & exit 1"
    done = run("conformance", "--", "sh", "-c", filtering)
    assert done.returncode == 2
    assert "it did not greet: it ended with status 1\nwhy it ended" in done.stderr


def test_a_client_that_can_do_nothing_is_not_conforming(tmp_path: Path) -> None:
    greeting = '{"language": 1, "name": "x", "can": []}'
    done = run("conformance", "--run", "limits", "--", "echo", greeting)
    assert done.returncode == 2
    assert "every case was skipped" in done.stderr


def test_a_command_may_have_options_of_its_own(tmp_path: Path) -> None:
    testee = [sys.executable, "-c", "import sys; print(sys.argv)", "--run", "--", "-x"]
    done = run("conformance", "--", *testee)
    assert done.returncode == 2
    assert "['-c', '--run', '--', '-x']" in done.stderr


def test_a_should_fails_a_strict_run_only(tmp_path: Path) -> None:
    options = ["--run", "connect/pipes/half-a-server"]
    fault = "counts-half-a-server"
    for strict, outcome in (([], (0, "warned")), (["--strict"], (1, "failed"))):
        status, report = run_suite(tmp_path, *options, *strict, testee=[*WRONG, fault])
        assert (status, *statuses(report).values()) == outcome


def test_list() -> None:
    done = run("conformance", "--list", "--run", "cancel")
    assert done.returncode == 0
    assert all(line.startswith("cancel/") for line in done.stdout.splitlines())
    assert "SES-10" in done.stdout


def test_the_trace_of_a_failure_is_shown() -> None:
    options = ["--run", "ends/payload-eof", "--transport", "tcp", "--trace"]
    done = run("conformance", *options, "--", *WRONG, "end-inside-a-frame-looks-clean")
    assert "server →  1 of the 2 bytes of a frame: 61" in done.stdout
    assert '→ testee  {"id": 2, "do": "read"}' in done.stdout


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--timeout", "x"], "argument --timeout: 'x' is not within 0 and 3600 seconds"),
        (
            ["--timeout", "nan"],
            "argument --timeout: 'nan' is not within 0 and 3600 seconds",
        ),
        (["--jobs", "many"], "argument --jobs: 'many' is not a number from 1 to 64"),
        (
            ["--known-failing", "missing"],
            "missing cannot be read: No such file or directory",
        ),
        (["--known-failing", sys.executable], f"{sys.executable} is no UTF-8"),
    ],
)
def test_wrong_use_is_told(options: list[str], text: str) -> None:
    done = run("conformance", *options, "--", *RIGHT)
    assert done.returncode == 2
    assert text in done.stderr
