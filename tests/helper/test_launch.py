"""What a helper is started with: variables, limits, a nice value, a directory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helper_programs import connected
from ipc_channel import Helper, HelperError, sync
from other_users import needs_root

SHOW = """
import resource
with open("/proc/self/status") as file:
    status = file.read()
shown = repr({
    "pid": os.getpid(),
    "environment": {k: v for k, v in os.environ.items() if k != "LC_CTYPE"},
    "directory": os.getcwd(),
    "nice": os.nice(0),
    "NOFILE": resource.getrlimit(resource.RLIMIT_NOFILE),
    "CORE": resource.getrlimit(resource.RLIMIT_CORE),
    "leads": os.getpgid(0) == os.getpid(),
    "files": os.listdir("/proc/self/fd"),
    "words": sys.argv[1:],
    "input": os.read(0, 10),
    "blocked": int(status.partition("SigBlk:")[2].split()[0], 16),
}).encode()
os.write(w, len(shown).to_bytes(4, "big") + shown)
os.read(r, 1)
"""
LIMITS: dict[str, int | tuple[int, int]] = {"NOFILE": (90, 100), "CORE": 0}
PLAIN = {"A": "1"}


def shown(*words: str, **options: Any) -> dict[str, Any]:
    """Return what a helper sees."""
    helper = sync.Helper([*connected(SHOW), *words], **options)
    with helper as channel:
        found: dict[str, Any] = eval(channel.read() or b"")
        assert found["pid"] == helper.process.pid
    return found


async def test_limits_and_nice() -> None:
    """They change, and everything else is as ever."""
    async with Helper(
        connected(SHOW), env=PLAIN, limits=LIMITS, nice=2, cwd="/tmp"
    ) as channel:
        found = eval(await channel.read() or b"")
    assert found["NOFILE"] == (90, 100)
    assert found["CORE"] == (0, 0)
    assert found["nice"] == os.nice(0) + 2
    assert found["directory"] == "/tmp"
    assert found["leads"]
    assert found["input"] == b""
    assert found["blocked"] == 0
    assert len(found["files"]) == 5, "the channel, and the listing's own"


def test_the_environment_is_the_same_with_a_launcher() -> None:
    told = {"IPC_CHANNEL_IN", "IPC_CHANNEL_OUT"}
    for env in ({}, PLAIN, {"LC_ALL": "C", "PYTHONHOME": "/nowhere"}):
        found = shown(env=env, limits=LIMITS)["environment"]
        assert {name: found[name] for name in found if name not in told} == env
    found = shown(env=PLAIN, limits=LIMITS, cwd="/tmp")["environment"]
    assert found["PWD"] == "/tmp"


@pytest.mark.parametrize("before", [{}, {"LC_CTYPE": "C"}, {"LC_CTYPE": "en_US.UTF-8"}])
def test_python_changes_no_locale_on_the_way(
    before: Mapping[str, str], tmp_path: Path
) -> None:
    """In the locale "C" Python sets LC_CTYPE for itself."""
    script = f'echo "${{LC_CTYPE-unset}}" > "{tmp_path}/found"'
    run_to_its_end(["/bin/sh", "-c", script], env=before, nice=1)
    found = (tmp_path / "found").read_text()
    assert found == before.get("LC_CTYPE", "unset") + "\n"


def run_to_its_end(command: list[str], **options: Any) -> None:
    with pytest.raises(HelperError, match="status 0"), sync.Helper(command, **options):
        pass


def test_words_of_any_bytes_pass_through() -> None:
    words = ["--", "", "a b", "limit=NOFILE:0:0", os.fsdecode(b"\xff\xe4"), "-c"]
    env = {"V": os.fsdecode(b"\xff")}
    found = shown(*words, env=env, limits=LIMITS)
    assert found["words"] == words
    assert found["environment"]["V"] == env["V"]


def test_signals_have_their_default_actions(tmp_path: Path) -> None:
    """Python, which starts first, ignores some for itself."""
    script = f"grep SigIgn /proc/self/status > '{tmp_path}/signals'"
    run_to_its_end(["/bin/sh", "-c", script], nice=1)
    ignored = int((tmp_path / "signals").read_text().split()[1], 16)
    assert ignored & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own


def test_add_env() -> None:
    assert shown(env=PLAIN, add_env={"B": "2"})["environment"].items() >= {
        ("A", "1"),
        ("B", "2"),
    }
    found = shown(env=PLAIN, add_env={"A": "3"}, nice=1)["environment"]
    assert found["A"] == "3"


def test_add_env_extends_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_CHANNEL_TEST_KEPT", "kept")
    monkeypatch.setenv("IPC_CHANNEL_TEST_GONE", "gone")
    changes = {"IPC_CHANNEL_TEST_GONE": None, "IPC_CHANNEL_TEST_NEW": "", "NOT_THERE": None}
    found = shown(add_env=changes)["environment"]
    assert found["IPC_CHANNEL_TEST_KEPT"] == "kept"
    assert found["IPC_CHANNEL_TEST_NEW"] == ""
    assert "IPC_CHANNEL_TEST_GONE" not in found
    assert os.environ["IPC_CHANNEL_TEST_GONE"] == "gone"


SERVICE = """
import os, sys
from ipc_channel import HelperError
from ipc_channel.sync import Helper
try:
    with Helper({command!r}, {options}):
        pass
except HelperError as error:
    print(error)
"""


def run(command: list[str], options: str) -> tuple[str, str]:
    """Return the error of a start, and what it writes to standard error."""
    code = SERVICE.replace("{command!r}", repr(command)).replace("{options}", options)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


def test_what_the_launcher_cannot_do_is_on_standard_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"\0")
    empty.chmod(0o755)
    error, text = run([str(empty)], "nice=1")
    assert "ended with status 126" in error
    assert text == f"ipc-channel: cannot execute {empty}: Exec format error\n"


@needs_root
def test_a_directory_is_entered_as_the_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    error, text = run(["/bin/true"], f"cwd={str(tmp_path)!r}, user='nobody'")
    assert "ended with status 126" in error
    assert (
        text == f"ipc-channel: cannot enter the directory {tmp_path}: Permission denied\n"
    )


@pytest.mark.parametrize(
    ("command", "options", "text"),
    [
        (["/nowhere"], {}, "No such file or directory: '/nowhere'; check the path"),
        (["not-to-be-found"], {}, "check the path, or PATH"),
        (["/etc/passwd"], {}, "make it executable"),
        (["/tmp"], {}, "it is a directory"),
        (["/bin/true"], {"cwd": "/nowhere"}, "cwd '/nowhere' does not exist"),
    ],
)
def test_what_cannot_be_started_is_told_as_ever(
    command: list[str], options: dict[str, Any], text: str
) -> None:
    helper = sync.Helper(command, nice=1, **options)
    with pytest.raises(HelperError, match=text):
        helper.start()
    helper.stop()


def test_a_helper_with_a_launcher_is_ended() -> None:
    helper = sync.Helper(["/bin/sleep", "1000"], nice=1, timeout=0.1)
    with pytest.raises(HelperError, match="did not connect"):
        helper.start()
    assert helper.process.returncode == -signal.SIGTERM
    helper.stop()


CHANGES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"add_env": [("A", "1")]}, TypeError, "add_env is a mapping .* not list"),
    ({"add_env": {"A": 1}}, TypeError, "add_env has 'A': 1, which are not both strings"),
    ({"add_env": {"A=": "1"}}, ValueError, "add_env has the name 'A='"),
    ({"add_env": {"": None}}, ValueError, "add_env has the name ''"),
    ({"add_env": {"A": "\0"}}, ValueError, r"add_env\['A'\] has a NUL byte"),
    ({"env": []}, TypeError, "env is a mapping of str to str, not list;.*add_env="),
    ({"nice": "1"}, TypeError, "nice is an increment of the nice value, an int, not str"),
    ({"nice": True}, TypeError, "nice is .* not bool"),
    ({"nice": 20}, ValueError, "nice is 20, not within -20 and 19"),
    ({"nice": -21}, ValueError, "nice is -21, not within -20 and 19"),
    ({"limits": [1]}, TypeError, "limits is a mapping of names to numbers"),
    ({"limits": {1: 1}}, TypeError, "limits has 1 as a name, which is not a str"),
    ({"limits": {"nofile": 1}}, ValueError, "'nofile', .* did you mean 'NOFILE'"),
    ({"limits": {"RLIMIT_CPU": 1}}, ValueError, "did you mean 'CPU'"),
    ({"limits": {"XYZXYZ": 1}}, ValueError, "'XYZXYZ', which .*; there are AS, "),
    ({"limits": {"CPU": "1"}}, TypeError, r"limits\['CPU'\] is a number, or .* not str"),
    ({"limits": {"CPU": (1, None)}}, TypeError, "not NoneType"),
    ({"limits": {"CPU": (1, 2, 3)}}, ValueError, "not a number or .soft, hard"),
    ({"limits": {"CPU": -2}}, ValueError, "is -2, less than 0; resource.RLIM_INFINITY"),
    ({"limits": {"CPU": 2**63}}, ValueError, "more than 9223372036854775807; resource"),
    ({"limits": {"CPU": (2, 1)}}, ValueError, "soft 2 exceeds hard 1"),
    ({"limits": {"CPU": (-1, 1)}}, ValueError, "soft -1 exceeds hard 1"),
]


@pytest.mark.parametrize(("options", "kind", "text"), CHANGES)
def test_impossible_options_are_refused(
    options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        Helper(["/bin/true"], **options)


def test_no_limit_is_allowed_where_ours_has_none() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY:
        assert shown(limits={"CPU": resource.RLIM_INFINITY})


def test_a_program_without_an_interpreter_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ValueError, match="need a Python interpreter"):
        Helper(["/bin/true"], nice=1)
    monkeypatch.setattr(sys, "executable", "x")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(ValueError, match="need a Python interpreter"):
        Helper(["/bin/true"], limits={"CPU": 1})
