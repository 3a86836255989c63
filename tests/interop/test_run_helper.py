"""A Python service with helpers in each language, which end in the same way."""

from __future__ import annotations

import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ipc_channel import EndReason
from ipc_channel.sync import Helper, IPCChannel, make_ipc_channel
from ipc_channel.sync.channel import parts_of
from main_programs import LARGE, ROOT, process, started, variables
from raw import CLOSE, PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture(scope="session")
def go_echo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example in Go, built; empty without Go."""
    if shutil.which("go") is None:
        return ""
    place = tmp_path_factory.mktemp("go") / "echo"
    build = ["go", "build", "-o", str(place), "./examples/echo"]
    subprocess.run(build, cwd=ROOT / "go-client", check=True)
    return str(place)


@pytest.fixture(params=["Python", "Python, blocking", "Go", "Node"])
def echo(request: pytest.FixtureRequest, go_echo: str) -> list[str]:
    """The command of the example echo in each language."""
    examples = ROOT / "python" / "examples"
    tool = {"Go": "go", "Node": "node"}.get(request.param)
    if tool is not None and shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    match request.param:
        case "Go":
            return [go_echo]
        case "Node":
            return ["node", str(ROOT / "js-client" / "examples" / "echo.js")]
        case "Python":
            return [sys.executable, str(examples / "echo.py")]
        case _:
            return [sys.executable, str(examples / "echo_blocking.py")]


@pytest.mark.parametrize("transport", ["named_pipe", "unix", "tcp"])
def test_sigterm_in_the_middle_of_an_answer(echo: list[str], transport: str) -> None:
    """The answer arrives whole, then the close frame, and the helper's status is 0."""
    helper = Helper(echo, make_ipc_channel(transport=transport))  # type: ignore[arg-type]  # a parameter is a plain str
    with helper as channel:
        channel.write(LARGE)
        wait_for_input(channel)  # it is writing now
        helper.process.send_signal(signal.SIGTERM)
        assert channel.read(PATIENCE) == LARGE
        assert channel.read(PATIENCE) is None
        assert channel.end_reason is EndReason.CLEAN
        assert helper.process.wait(PATIENCE) == 0


def wait_for_input(channel: IPCChannel) -> None:
    """Wait until the helper writes; nothing is read while no method is called."""
    session = parts_of(channel)[1].session
    assert session is not None
    assert select.select([session.stream.in_fd()], [], [], PATIENCE)[0]


def test_a_service_that_closes_its_channel(echo: list[str]) -> None:
    """A helper that has answered everything ends with status 0."""
    helper = Helper(echo)
    with helper as channel:
        channel.write(b"a")
        assert channel.read(PATIENCE) == b"a"
    assert helper.process.returncode == 0


@pytest.mark.parametrize(
    ("wire", "code"),
    [(CLOSE, ""), (b"", ""), (b"\0\0", "truncated"), (b"\xff\xff\xff\xff", "too-large")],
)
def test_the_status_tells_how_the_session_ended(
    echo: list[str], wire: bytes, code: str
) -> None:
    """One line on stderr has the code of the error, the same in every language."""
    with started(echo) as helper:
        helper.peer.sendall(wire)
        helper.peer.shutdown(socket.SHUT_WR)
        status, said = helper.ends_in_order()
    assert status == bool(code)
    assert said.count("\n") == bool(code)
    assert f": {code}: " in said or not code


def test_a_reset(echo: list[str]) -> None:
    """It is a failure: answers may be lost."""
    with started(echo) as helper:
        helper.send(b"a")
        assert helper.read_frame() == b"a"
        helper.reset()
        status, said = helper.ended()
    assert status == 1
    assert ": reset: " in said


@pytest.mark.parametrize("missing", ["in", "out"])
def test_started_by_hand(echo: list[str], missing: str, tmp_path: Path) -> None:
    """It says what it is, and shows a command line that works."""
    given = variables("", "5000") if missing == "in" else variables("5000", "")
    with process(echo, given) as helper:
        _, said = helper.communicate(timeout=PATIENCE)
    assert helper.returncode == 2
    lines = said.splitlines()
    assert ": this program is a helper, started by a service: " in lines[0]
    assert lines[1] == f"Environment variable IPC_CHANNEL_{missing.upper()} is missing."
    (command,) = (line for line in lines if line.startswith("    "))
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o700)
    given["PATH"] = f"{tmp_path}:{given['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        env=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'hello'\n", "")
