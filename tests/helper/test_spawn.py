"""How a helper starts: its signals and descriptors, and what is in the way of that."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helper_programs import connected
from ipc_channel import Helper, HelperError, make_ipc_channel
from raw import PATIENCE

SHOW = """
signals = [line.split()[1] for line in open("/proc/self/status") if line[:6] in ("SigBlk", "SigIgn")]
files = sorted(set(map(int, os.listdir("/proc/self/fd"))) - {r, w})
text = ascii((signals, files, os.getcwd(), os.getpgid(0) == os.getpid(), os.read(0, 1)))
os.write(w, len(text).to_bytes(4, "big") + text.encode())
os.read(r, 1)
"""


@pytest.fixture(params=["as by default", "blocked", "ignored"])
def signals(request: pytest.FixtureRequest) -> Iterator[str]:
    """The signals of the service, which say how it starts processes."""
    chosen = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {number: signal.getsignal(number) for number in chosen}
    for number in chosen:
        if request.param == "ignored":
            signal.signal(number, signal.SIG_IGN)
        elif request.param == "as by default":
            signal.signal(number, signal.SIG_DFL)
    if request.param == "blocked":
        signal.pthread_sigmask(signal.SIG_BLOCK, chosen)
    elif request.param == "as by default":
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    yield request.param
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_a_helper_starts_with(
    transport: Any, signals: str, elsewhere: bool, tmp_path: Path
) -> None:
    cwd = tmp_path / "a b" if elsewhere else None
    if cwd is not None:
        cwd.mkdir()
    inherited = os.memfd_create("inherited")
    os.set_inheritable(inherited, True)
    try:
        helper = Helper(connected(SHOW), make_ipc_channel(transport=transport), cwd=cwd)
        async with helper as channel:
            shown = await channel.read()
    finally:
        os.close(inherited)
    assert shown is not None
    (blocked, ignored), files, directory, leads, standard_input = eval(shown)
    assert int(blocked, 16) == 0
    python = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ))
    libc = 1 << (32 - 1) | 1 << (33 - 1)  # its own, which no other code can set
    assert int(ignored, 16) & ~libc == python, "as Python in the helper itself does"
    assert not [fd for fd in files if fd > 2 and fd != max(files)], "but for the listing"
    assert directory == str(tmp_path / "a b" if elsewhere else Path.cwd())
    assert leads
    assert standard_input == b""


async def test_nothing_is_inherited_where_descriptors_are_not_listed(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a chroot without /dev and /proc."""

    def listdir(path: Any = ".", real: Any = os.listdir) -> Any:
        if path == "/dev/fd":
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    inherited = os.memfd_create("inherited")
    os.set_inheritable(inherited, True)
    helper = Helper(connected(SHOW), make_ipc_channel(transport=transport))
    async with helper as channel:
        shown = await channel.read()
    os.close(inherited)
    assert shown is not None
    files = eval(shown)[1]
    assert not [fd for fd in files if fd > 2 and fd != max(files)], "but for the listing"


async def test_a_descriptor_beyond_the_limit_is_not_inherited(transport: Any) -> None:
    """The C library refuses to close its number; the service has it as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    inherited = os.memfd_create("inherited")
    beyond = fcntl.fcntl(inherited, fcntl.F_DUPFD, min(soft - 1, 400))
    os.close(inherited)
    channel = make_ipc_channel(transport=transport)
    resource.setrlimit(resource.RLIMIT_NOFILE, (beyond, hard))
    try:
        async with Helper(connected(SHOW), channel):
            shown = await channel.read()
        assert os.get_inheritable(beyond)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(beyond)
    assert shown is not None
    assert beyond not in eval(shown)[1]


@pytest.mark.parametrize("name", ["-", "-P", "a b", "$x'", "..", "link/.."])
async def test_a_directory_is_no_word_of_the_shell(
    transport: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it another one because of variables that the shell knows."""
    inner = tmp_path / "inner"
    for made in ("elsewhere/deep", f"inner/{name.partition('/')[0]}", f"elsewhere/{name}"):
        (tmp_path / made).mkdir(parents=True, exist_ok=True)
    if "/" in name:
        (inner / "link").rmdir()
        (inner / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    monkeypatch.chdir(inner)
    for variable in ("OLDPWD", "CDPATH"):
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    there = os.path.realpath(name)
    async with Helper(
        connected(SHOW), make_ipc_channel(transport=transport), cwd=name
    ) as channel:
        shown = await channel.read()
    assert shown is not None
    assert eval(shown)[2] == there


@pytest.mark.parametrize("signals", ["blocked"], indirect=True)
async def test_a_signal_that_waits_stays_with_the_service(signals: str) -> None:
    """It is not delivered because a helper is started."""
    signal.raise_signal(signal.SIGUSR1)
    helper = Helper(["/bin/sh", "-c", "exit 3"], make_ipc_channel())
    with pytest.raises(HelperError, match="status 3"):
        await helper.start()
    await helper.stop()
    assert signal.sigtimedwait([signal.SIGUSR1], 0) is not None


def write(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def test_what_cannot_be_started(transport: Any, signals: str, tmp_path: Path) -> None:
    channel = make_ipc_channel(transport=transport)
    file = write(tmp_path / "file", "", mode=0o644)
    empty = write(tmp_path / "empty", "\0")
    script = write(tmp_path / "script", "#! /nowhere/python  -u\n")
    carriage = write(tmp_path / "carriage", "#!/bin/sh\r\n")
    lost = r"first line, '/nowhere/python', does not exist"
    cases: list[tuple[list[str], str | None, str]] = [
        (["/nowhere"], None, "No such file.*check the path"),
        (["not-to-be-found"], None, "No such file.*PATH"),
        ([file], None, "Permission denied.*make it executable"),
        ([empty], None, "Exec format error.*#! line"),
        (["/bin/true", "x" * 2**24], None, "too long.*shorten"),
        (["/bin/true"], "/nowhere", "No such file.*: '/nowhere'; cwd '/nowhere' does not"),
        (["/bin/true"], file, f"Not a directory.*; cwd '{file}' is not a directory"),
        (["/bin/true"], "~/here", "cwd '~/here' does not exist; ~ is not.*expanduser"),
        (["~/helper"], None, "~ is not expanded: use os.path.expanduser"),
        (["~/helper"], "/", "~ is not expanded: use os.path.expanduser"),
        (["/tmp"], None, "; it is a directory"),
        (["tmp/."], "/", "; it is a directory"),
        ([script], None, lost),
        (["./script"], str(tmp_path), lost),
        ([carriage], None, r"first line, '/bin/sh\\r', does not exist"),
        (["/nowhere"], "/", "No such file.*check the path"),
        (["./file"], str(tmp_path), "Permission denied.*make it executable"),
        (["not-to-be-found"], "/", "No such file.*PATH"),
    ]
    for command, cwd, text in cases:
        helper = Helper(command, channel, cwd=cwd)
        with pytest.raises(HelperError, match=f"(?s)cannot start helper .*{text}"):
            await helper.start()
        with pytest.raises(HelperError, match="was not started"):
            _ = helper.process
    await channel.close()


async def test_a_program_is_found_in_the_path_that_it_gets(
    signals: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "found", "#!/bin/sh\nexit 4\n")
    channel = make_ipc_channel()
    with pytest.raises(HelperError, match="cannot start"):
        await Helper(["found"], channel).start()
    with pytest.raises(HelperError, match="status 4"):
        await Helper(["found"], channel, env={"PATH": str(tmp_path)}).start()
    await channel.close()


LIMITED = """
import asyncio, os, resource, sys
from ipc_channel import Helper, HelperError, make_ipc_channel

async def main():
    channel = make_ipc_channel(transport=sys.argv[2])
    {limit}
    helper = Helper(["/bin/sleep", "1000"], channel)
    try:
        await helper.start()
    except HelperError as error:
        print(error)
    await helper.stop()

if os.getuid() == 0:  # root has no limit of processes
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    os.chdir("/")
os.environ["TMPDIR"] = sys.argv[1]
asyncio.run(main())
"""
PROCESSES = "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))"
FILES = """first = os.dup(0); os.close(first)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first, first))"""


@pytest.mark.parametrize(
    ("limit", "text"), [(PROCESSES, "ulimit -u"), (FILES, "ulimit -n")]
)
def test_a_limit_of_the_service(transport: Any, limit: str, text: str) -> None:
    code = LIMITED.replace("{limit}", limit)
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o777)  # the service is another user
        done = subprocess.run(
            [sys.executable, "-c", code, directory, transport],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "cannot start helper /bin/sleep 1000" in done.stdout
    assert text in done.stdout
    assert done.stderr == ""


async def test_a_helper_that_is_not_python_starts_with_no_signal_ignored(
    transport: Any, tmp_path: Path
) -> None:
    """Python ignores SIGPIPE and SIGXFSZ for itself, which a child would inherit."""
    shown = tmp_path / "signals"
    script = 'grep SigIgn /proc/self/status > "$1"; shift; exec "$@"'
    command = ["/bin/sh", "-c", script, "sh", str(shown), *connected("os.read(r, 1)")]
    async with Helper(command, make_ipc_channel(transport=transport)):
        ignored = int(shown.read_text().split()[1], 16)
    assert ignored & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own
