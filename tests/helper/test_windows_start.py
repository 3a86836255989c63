"""How a helper starts on Windows, and what is in the way of that."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

from ipc_channel import HelperError
from ipc_channel.helper.command import Command
from ipc_channel.helper.launch import Launch
from ipc_channel.windows.process import _block
from windows_programs import PATIENCE, SERVICE, SLEEP, program, say, start, wait_for
from wine import not_under_wine

WITH_AN_INVALID_HANDLE = """
import ctypes, sys
from ctypes import c_void_p, windll
from ipc_channel.windows import process
windll.kernel32.SetStdHandle(-11, c_void_p(-1))
with process._standard_handles({}) as handles:
    sys.exit(any(windll.kernel32.GetProcessId(c_void_p(one)) for one in handles))
"""


def test_what_it_starts_with(tmp_path: Path) -> None:
    said = tmp_path / "said"
    directory = tmp_path / "a b"
    directory.mkdir()
    shown = "ascii([os.getcwd(), os.read(0, 1), dict(os.environ), sys.argv[1:]])"
    arguments = ["", 'a "b" \\', "é…\U0001f600"]
    env = {"Some_Name": "é…\U0001f600", "empty": "", "x": "a name that has no case"}
    command = [*program("import os, sys\n" + say(said, shown)), *arguments]
    process = Command(command, env=env, cwd=directory, process_group=True).start({"X": "1"})
    asyncio.run(process.end(PATIENCE, 0))
    where, read, environment, words = eval(wait_for(said))
    assert os.path.samefile(where, directory)
    assert read == b""
    assert environment["SOME_NAME"] == "é…\U0001f600"
    assert environment["X"] == "1"
    assert "PATH" not in environment
    assert words == arguments


def test_without_systemroot_it_could_not_open_a_socket() -> None:
    """Wine adds it by itself."""
    assert _block({"Other": "1"}) == f"OTHER=1\0SYSTEMROOT={os.environ['SYSTEMROOT']}\0"
    assert _block({"SystemRoot": "X:"}) == "SYSTEMROOT=X:\0"


def test_it_inherits_no_other_handle() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    process = start(SLEEP)
    os.close(writing)
    assert os.read(reading, 1) == b"", "it has no copy of the other end"
    os.close(reading)
    asyncio.run(process.end(0, 0))


@not_under_wine("it ignores the priority class of a start")
@pytest.mark.parametrize(
    ("nice", "priority"),
    [(0, 0x20), (1, 0x4000), (19, 0x40), (-1, 0x8000), (-20, 0x80)],
)
def test_nice_is_a_priority_class(nice: int, priority: int) -> None:
    """Normal, below normal, idle, above normal, high."""
    code = (
        "import ctypes, os\nkernel32 = ctypes.windll.kernel32\n"
        "kernel32.GetCurrentProcess.restype = ctypes.c_void_p\n"
        "own = ctypes.c_void_p(kernel32.GetCurrentProcess())\n"
        "os._exit(kernel32.GetPriorityClass(own))"
    )
    process = start(code, launch=Launch(nice=nice))
    asyncio.run(process.end(PATIENCE, 0))
    assert process.returncode == priority


def test_a_service_with_an_invalid_standard_handle() -> None:
    """-1 stands for the process itself, which the helper would get full access to."""
    subprocess.run([sys.executable, "-c", WITH_AN_INVALID_HANDLE], check=True)


def test_its_output_is_ours() -> None:
    then = "import asyncio; asyncio.run(process.end(60, 0))"
    code = SERVICE.replace("{own_group}", "True").replace("{then}", then)
    helper = program("import os; os.write(1, b'out'); os.write(2, b'err')")
    done = subprocess.run(
        [sys.executable, "-c", code, *helper], check=True, capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"out", b"err")


def test_a_name_is_looked_up_in_its_own_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it gets the name as its first word; what lies in our directory is not started."""
    name, end = os.path.splitext(os.path.basename(sys.executable))
    (tmp_path / (name + end)).write_bytes(b"no program")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    env = {**os.environ, "PATH": os.path.dirname(sys.executable)}
    command = [name, "-I", "-S", "-c", "import os; os._exit(7)"]
    process = Command(command, env=env, cwd=None, process_group=True).start({})
    asyncio.run(process.end(PATIENCE, 0))
    assert process.returncode == 7
    with pytest.raises(HelperError, match="check the path, or PATH"):
        Command(command, env={}, cwd=None, process_group=True).start({})


@pytest.mark.parametrize(
    ("command", "cwd", "text"),
    [
        (["nowhere"], None, "check the path, or PATH if it has no backslash"),
        ([r"C:\nowhere\x.exe"], None, "check the path"),
        (["nowhere.cmd", "&calc"], None, "is a batch file"),
        (["{file}"], None, "start a script with its interpreter"),
        pytest.param(
            *(["{directory}"], None, "check that it is a program"),
            marks=not_under_wine("it says that there is no such file"),
        ),
        ([sys.executable], r"C:\nowhere", r"cwd 'C:\\nowhere' does not exist"),
        ([sys.executable], "{file}", "is not a directory"),
        pytest.param(
            *([sys.executable, "-c", "#" * 40_000], None, "shorten the command"),
            marks=not_under_wine("it has no limit for a command"),
        ),
    ],
)
def test_what_cannot_be_started(
    command: list[str], cwd: str | None, text: str, tmp_path: Path
) -> None:
    file = tmp_path / "script.py"
    file.write_text("print()")
    places = {"file": str(file), "directory": str(tmp_path)}
    words = [word.format(**places) for word in command]
    where = None if cwd is None else cwd.format(**places)
    with pytest.raises(HelperError, match="cannot start helper") as caught:
        Command(words, env=None, cwd=where, process_group=True).start({})
    assert text in str(caught.value)
