"""How the mutation testing of the suite judges, and what it leaves behind when it is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dispositions
from conformance import judge
from conformance.jobs import Jobs
from conformance.judge import Fate, Judge
from conformance.mutated import Client, clients
from conformance.variants import Variant

HERE = Path(__file__).parent
WRONG = str(HERE / "wrong.py")
FILE = "python/ipc_channel/protocol/rendezvous.py"
PATIENCE = 60  # seconds


def end_of(variant: str, unchanged: str, tmp_path: Path) -> Fate:
    """Return what is said of a variant that is one client, and was another before."""

    def command(tree: Path) -> list[str]:
        return [sys.executable, WRONG, unchanged if tree.name == "unchanged" else variant]

    client = Client(("python",), [FILE], lambda _: ["true"], command)
    jobs = Jobs()
    try:
        code = (HERE.parents[1] / FILE).read_text("utf-8")
        one = Variant(FILE, "deleted", 1, "before", "after", code)
        return Judge(client, tmp_path, 1, jobs).try_out(one)
    finally:
        jobs.end()


@pytest.fixture(autouse=True)
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = ["--run", "ends/boundary-eof", "--transport", "tcp", "--no-first-check"]
    monkeypatch.setattr(judge, "CASES", {"": cases})
    monkeypatch.setattr(judge, "TRIES", 1)


def test_what_the_variant_fails_and_the_client_does_not_is_found(tmp_path: Path) -> None:
    fate = end_of("crash-looks-clean", "close-frame-as-a-message", tmp_path)
    assert fate.kind == "found"
    assert fate.text.startswith("ends/boundary-eof [tcp]: ")


def test_what_the_client_fails_as_well_is_not_found(tmp_path: Path) -> None:
    """As it does where a busy machine is in the way."""
    fate = end_of("crash-looks-clean", "crash-looks-clean", tmp_path)
    assert fate.kind == "unsteady"


def test_what_fails_no_case_survives(tmp_path: Path) -> None:
    fate = end_of("close-frame-as-a-message", "close-frame-as-a-message", tmp_path)
    assert fate.kind == "survived"


def test_an_error_of_the_suite_itself_is_no_find() -> None:
    failure = judge.Failure("ends/boundary-eof", "tcp", "an error of the suite itself")
    assert failure.fate.kind == "error"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything(number: signal.Signals, tmp_path: Path) -> None:
    copies, report = tmp_path / "copies", tmp_path / "report.json"
    copies.mkdir()
    options = ["python", "--count", "3", "--jobs", "2", "--report", str(report)]
    process = subprocess.Popen(
        [sys.executable, str(HERE / "mutate.py"), *options],
        env=os.environ | {"TMPDIR": str(copies)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=dispositions.restore,
    )
    try:
        wait_for_testee(copies)
        process.send_signal(number)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number
    assert not list(processes_of(copies))
    assert not list(copies.iterdir())
    assert json.loads(report.read_text("utf-8"))["clients"]["python"]["results"] == []


def wait_for_testee(directory: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any("python_testee" in one for one in processes_of(directory)):
        assert time.monotonic() < deadline, "no testee was started"
        time.sleep(0.01)


def processes_of(directory: Path) -> Iterator[str]:
    """Yield the command and environment of each process that uses the directory."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text("utf-8", errors="replace")
            environment = (process / "environ").read_text("utf-8", errors="replace")
        except OSError:
            continue
        if str(directory) in command + environment:
            yield command


def test_every_client_is_there_to_be_changed() -> None:
    for client in clients("go", "node").values():
        assert client.files
