"""The programs of README.md run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raw import PATIENCE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CRASHES_ONCE = """
import pathlib, sys
from ipc_channel import from_environment, make_ipc_channel_client
import asyncio

async def main():
    async with make_ipc_channel_client(*from_environment()) as channel:
        first = not pathlib.Path("seen").exists()
        pathlib.Path("seen").touch()
        await channel.write(b"first" if first else b"second")
        sys.exit(3 if first else 0)

asyncio.run(main())
"""


def program(language: str, having: str) -> str:
    """Return the one program of a language that contains some text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = (block for block in blocks if having in block)
    return str(found)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the programs under the names that README.md gives them."""
    for name, language, having in (
        (
            "service.py",
            "python",
            "import asyncio\nimport sys\n\nfrom ipc_channel import Helper\n",
        ),
        ("echo.py", "python", "from ipc_channel import IPCChannelClient, run_helper\n"),
        ("blocking.py", "python", "from ipc_channel.sync import Helper\n"),
        (
            "blocking_echo.py",
            "python",
            "from ipc_channel.sync import IPCChannelClient, run_helper\n",
        ),
        ("stopping.py", "python", "exit_on_signals"),
        ("failing.py", "python", "no licence"),
        ("restart.py", "python", "Supervisor"),
        ("server.py", "python", "create_subprocess_exec"),
        ("fixed.py", "python", "helper.sock"),
        ("pool.py", "python", "HelperPool"),
        ("upper.py", "python", "payload.upper()"),
        ("blocking_calls.py", "python", "RequestChannel"),
        ("echo.go", "go", "ReadMessage"),
        ("echo.mjs", "js", "for await"),
        ("upper.go", "go", "ToUpper"),
        ("upper.mjs", "js", "toUpperCase"),
    ):
        (tmp_path / name).write_text(program(language, having))
    return tmp_path


def run(place: Path, *command: str) -> str:
    env = os.environ | {"PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(
        command,
        check=False,
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", ["service.py", "server.py", "blocking.py", "stopping.py"])
def test_services(place: Path, name: str) -> None:
    assert run(place, sys.executable, name) == "b'hello'\n"


def test_a_helper_that_something_else_starts(place: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # tmp_path is too long
        path = f"{short}/helper.sock"
        text = (place / "fixed.py").read_text().replace("/run/app/helper.sock", path)
        (place / "fixed.py").write_text(text.replace('"worker"', '"root"'))
        (variables,) = re.findall(r"^export (IPC_CHANNEL_IN=.*)$", README, re.MULTILINE)
        variables = variables.replace("/run/app/helper.sock", path)
        helper = f"{variables} {shlex.quote(sys.executable)} echo.py"
        both = f"{helper} & {shlex.quote(sys.executable)} fixed.py && wait $!"
        assert run(place, "sh", "-c", both) == "b'hello'\n"


def test_a_helper_that_fails(place: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(
        [sys.executable, "failing.py"],
        check=True,
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert re.fullmatch(
        r"INFO ipc_channel\.helper\.report: \[\d+\] no licence\n", done.stderr
    )
    error, lines, result = done.stdout.splitlines()
    assert "ended with status 1 before it connected; its last lines:" in error
    assert lines == "    no licence"
    assert re.fullmatch(r"1 None [\d.]+ \('no licence',\)", result)


def test_a_helper_that_crashes_is_restarted(place: Path) -> None:
    (place / "helper.py").write_text(CRASHES_ONCE)
    done = subprocess.run(
        [sys.executable, "restart.py", sys.executable, "helper.py"],
        check=True,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "b'first'\nb'second'\n"
    (warning,) = done.stderr.splitlines()
    assert "was lost: it ended with status 3" in warning


def test_the_demo_of_a_helper_that_is_killed() -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "python/examples/killed_helper.py"), "--helper"),
            shlex.join(
                [f"Python={sys.executable}", str(ROOT / "python/examples/digest.py")]
            ),
        ],
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    for said in (
        "was killed by SIGKILL",
        "will be started again",
        "1,000 digests are right",
    ):
        assert said in done.stdout


def test_the_restart_without_a_helper(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "restart.py"],
        check=False,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert done.stderr == "usage: python restart.py PROGRAM [ARGUMENT...]\n"


def serve_with(place: Path, *helper: str) -> str:
    """Run service.py with another helper."""
    return run_with(place, "service.py", "echo.py", *helper)


def run_with(place: Path, service: str, replaced: str, *helper: str) -> str:
    """Run a service with another helper than a certain one in Python."""
    text = (place / service).read_text()
    asked = f'[sys.executable, "{replaced}"]'
    (place / service).write_text(text.replace(asked, repr(list(helper))))
    return run(place, sys.executable, service)


POOL_ANSWERS = "b'HELLO'\nb'ONE'\nb'TWO'\nb'THREE'\n"


def test_a_pool(place: Path) -> None:
    assert run(place, sys.executable, "pool.py") == POOL_ANSWERS


def test_requests_without_asyncio(place: Path) -> None:
    assert run(place, sys.executable, "blocking_calls.py") == "b'HELLO'\n"


@pytest.mark.parametrize(
    "helper",
    [
        "blocking_echo.py",
        str(ROOT / "python/examples/echo.py"),
        str(ROOT / "python/examples/echo_blocking.py"),
    ],
)
def test_python(place: Path, helper: str) -> None:
    assert serve_with(place, sys.executable, helper) == "b'hello'\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_node(place: Path) -> None:
    (place / "node_modules").mkdir()
    (place / "node_modules" / "ipc-channel").symlink_to(ROOT / "js-client")
    assert serve_with(place, "node", "echo.mjs") == "b'hello'\n"
    assert run_with(place, "pool.py", "upper.py", "node", "upper.mjs") == POOL_ANSWERS


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_go(place: Path) -> None:
    (install,) = re.findall(r"^(go mod init.*?)^```", README, re.DOTALL | re.MULTILINE)
    install = install.replace("/path/to/clone", shlex.quote(str(ROOT)))
    build = "go build -o echo echo.go\ngo build -o upper upper.go"
    run(place, "sh", "-ec", f"exec 2>&1\n{install}{build}")
    assert serve_with(place, str(place / "echo")) == "b'hello'\n"
    helper = str(place / "upper")
    assert run_with(place, "pool.py", "upper.py", helper) == POOL_ANSWERS
