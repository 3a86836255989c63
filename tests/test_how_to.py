"""The programs of python/docs/unix-sockets.md run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raw import PATIENCE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "python" / "docs" / "unix-sockets.md").read_text("utf-8")
PROGRAMS = [
    block
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    if "asyncio.run" in block
]
OPTIONS = 'transport="unix", path=path'
HANDED = 'transport="unix", systemd="helper", allowed_users=["worker"]'
SETPRIV = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
# What systemd does: the socket is descriptor 3, and the variables name the process.
PLAYED_SYSTEMD = """
import os, socket, sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)  # if it was 3 already, dup2 has done nothing
passed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "helper"}
os.execve(sys.executable, [sys.executable, *sys.argv[2:]], os.environ | passed)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, for sockets, and with the page's programs."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        for name, program in zip(
            ("service.py", "helper.py", "root.py"), PROGRAMS, strict=True
        ):
            (Path(short) / name).write_text(program)
        yield Path(short)


def environment(path: Path) -> dict[str, str]:
    variables = {"IPC_CHANNEL_IN": f"unix:{path}", "IPC_CHANNEL_OUT": f"unix:{path}"}
    return os.environ | variables | {"PYTHONPATH": str(ROOT / "python")}


def helper_of(place: Path, *service: str | Path) -> str:
    """Return what the helper prints while the service runs."""
    env = environment(place / "helper.sock")
    with subprocess.Popen([sys.executable, *service], cwd=place, env=env) as process:
        try:
            done = subprocess.run(
                [sys.executable, "helper.py"],
                check=True,
                cwd=place,
                env=env,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        finally:
            process.kill()
    return done.stdout


def test_a_service_at_a_fixed_path_survives_being_killed(place: Path) -> None:
    for _ in range(2):
        assert helper_of(place, "service.py", place / "helper.sock") == "b'HELLO'\n"
        assert (place / "helper.sock").exists()


def test_a_service_whose_socket_systemd_holds(place: Path) -> None:
    assert HANDED in PAGE
    text = (place / "service.py").read_text()
    assert OPTIONS in text
    handed = HANDED.replace("worker", "root")  # a user that every system has
    (place / "service.py").write_text(text.replace(OPTIONS, handed))
    (place / "systemd.py").write_text(PLAYED_SYSTEMD)
    path = place / "helper.sock"
    assert helper_of(place, "systemd.py", path, "service.py", path) == "b'HELLO'\n"


def nobody_can_import_the_package() -> bool:
    """Whether a process of root can start a Python helper as another user."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    command = [*SETPRIV, "python3", "-c", "import ipc_channel"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "python")}
    return (
        subprocess.run(command, check=False, env=env, stderr=subprocess.DEVNULL).returncode
        == 0
    )


@pytest.mark.skipif(
    not nobody_can_import_the_package(), reason="needs root, setpriv, and a public Python"
)
def test_a_helper_of_another_user(place: Path) -> None:
    assert f"COMMAND = {SETPRIV}".replace("'", '"') in PAGE
    readme = (ROOT / "README.md").read_text("utf-8")
    (echo,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        if "async def echo(channel: IPCChannelClient)" in block
    )
    (place / "echo.py").write_text(echo)
    place.chmod(0o711)
    (place / "echo.py").chmod(0o644)
    done = subprocess.run(
        [sys.executable, "root.py"],
        check=False,
        cwd=place,
        # The directory of the channel has to be where that user can enter.
        env=environment(place) | {"TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "b'hello'\n", done.stderr
