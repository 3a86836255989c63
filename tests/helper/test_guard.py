"""The helpers of a service that was killed are ended, and so is what ends them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guards import WAIT, Service, guards_of, service, until, until_gone
from helper_programs import BEHAVES, IGNORES, connected, with_child
from ipc_channel import Helper
from ipc_channel.helper import guard
from process_tree import child_of, kill_if_alive, lives

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a job object does it")

START = "tell(start({command!r}, {options}).process.pid)" + WAIT
ASYNC = """
async def main():
    async with Helper({command!r}, {options}) as channel:
        tell(*children())
        await asyncio.sleep(1000)

asyncio.run(main())
"""
# Tells in a file how it ends: by itself, or by SIGTERM.
TELLS = """
import _signal
def tell(text):
    with open({path!r}, "a") as file: file.write(text)
def on_term(*_):
    tell("terminated")
    os._exit(0)
_signal.signal(_signal.SIGTERM, on_term)
os.write(w, b"\\0\\0\\0\\1x")
try:
    while os.read(r, 1 << 16): pass
except OSError: pass
"""
LINGERS = TELLS + "import time\nwhile True: time.sleep(0.05)\n"
LEAVES = TELLS + "tell('left')\n"


def code(template: str, command: list[str], options: str = "grace=0.2") -> str:
    return template.replace("{command!r}", repr(command)).replace("{options}", options)


def start(command: list[str], options: str = "grace=0.2") -> str:
    return code(START, command, options)


@pytest.mark.parametrize("template", [START, ASYNC], ids=["blocking", "asyncio"])
def test_a_helper_that_ignores_everything_ends_with_its_service(template: str) -> None:
    """It is killed in the end, and the guard ends with it."""
    with service(code(template, IGNORES)) as one:
        (pid,) = one.told()
        its_guard = one.guard()
        one.kill()
        until_gone(pid, its_guard)


def test_the_group_of_a_helper_ends_with_the_service() -> None:
    command = ["/bin/sh", "-c", f"{shlex.join(IGNORES)}; exit 3"]
    with service(start(command, "says=b'deaf', grace=0.2")) as one:
        (pid,) = one.told()
        real = child_of(pid)
        one.kill()
        until_gone(pid, real)


def test_without_a_group_only_the_helper_is_ended() -> None:
    command = with_child("")
    body = f"""
helper = sync.Helper({command!r}, grace=0.2, process_group=False)
channel = helper.start()
tell(helper.process.pid, int(channel.read()))
"""
    with service(body + WAIT) as one:
        pid, child = one.told()
        its_guard = one.guard()
        one.kill()
        until_gone(pid, its_guard)
        assert lives(child)
        kill_if_alive(child)


def test_a_helper_gets_sigterm_before_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "told"
    command = connected(LINGERS.replace("{path!r}", repr(str(path))))
    with service(start(command, "says=b'x', grace=0.2")) as one:
        (pid,) = one.told()
        one.kill()
        until_gone(pid)
    assert path.read_text() == "terminated"


def test_a_helper_that_leaves_by_itself_gets_no_signal(tmp_path: Path) -> None:
    """The guard does not wait until its grace is over, either."""
    path = tmp_path / "told"
    command = connected(LEAVES.replace("{path!r}", repr(str(path))))
    with service(start(command, "says=b'x', grace=100000")) as one:
        (pid,) = one.told()
        its_guard = one.guard()
        one.kill()
        until_gone(pid, its_guard)
    assert path.read_text() == "left"


def test_a_helper_may_outlive_its_service() -> None:
    with service(start(IGNORES, "grace=0, end_with_service=False")) as one:
        (pid,) = one.told()
        assert guards_of(one.process.pid) == []
        one.kill()
        assert lives(pid)
        kill_if_alive(pid)


def test_the_argument_is_a_flag() -> None:
    with pytest.raises(TypeError, match="end_with_service is True or False, not int"):
        Helper(["x"], end_with_service=1)  # type: ignore[arg-type]  # is to be refused


def test_a_guard_without_helpers_ends_with_its_service() -> None:
    body = f"start({BEHAVES!r}, grace=100000).stop()\ntell()"
    with service(body + WAIT) as one:
        one.told()
        its_guard = one.guard()
        assert one.process.stdin
        one.process.stdin.close()
        assert one.process.wait() == 0
        until_gone(its_guard)


def test_a_service_that_ends_is_not_warned_of_the_socket() -> None:
    with service(f"start({BEHAVES!r}).stop()", stderr=subprocess.PIPE) as one:
        _, errors = one.process.communicate()
        assert one.process.returncode == 0
        assert errors == ""


def holds(pid: int) -> dict[str, str]:
    """Return the descriptors of a process."""
    place = Path(f"/proc/{pid}/fd")
    return {one.name: str(one.readlink()) for one in place.iterdir()}


def test_a_guard_holds_nothing_of_the_service_but_its_socket(tmp_path: Path) -> None:
    body = "os.dup2(os.memfd_create('x'), 3)\nos.set_inheritable(3, True)\n"
    with service(body + start(BEHAVES), cwd=tmp_path) as one:
        one.told()
        its_guard = one.guard()
        held = holds(its_guard)
        assert held.pop("0").startswith("socket:")
        assert held == {"1": "/dev/null", "2": "/dev/null"}
        assert Path(f"/proc/{its_guard}/cwd").readlink() == Path("/")
        assert os.getsid(its_guard) != os.getsid(one.process.pid)
        assert os.getpgid(its_guard) != os.getpgid(one.process.pid)


def test_a_guard_is_no_child_of_the_service() -> None:
    body = f"""
pid = start({BEHAVES!r}).process.pid
os.kill(pid, signal.SIGKILL)
assert os.waitpid(-1, 0)[0] == pid
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    tell()
"""
    with service(body + WAIT) as one:
        assert one.told() == []
        assert lives(one.guard())


@pytest.mark.parametrize("number", ["HUP", "INT", "QUIT", "TERM", "PIPE", "USR1"])
def test_a_guard_ignores_signals(number: str) -> None:
    with service(start(BEHAVES)) as one:
        one.told()
        its_guard = one.guard()
        text = Path(f"/proc/{its_guard}/status").read_text("ascii")
        ignored = int(text.partition("SigIgn:")[2].split()[0], 16)
        assert ignored & 1 << (signal.Signals[f"SIG{number}"] - 1)


SHELLS = {"dash": "dash", "bash": "bash", "busybox": "busybox", "mksh": "mksh"}


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_any_shell_will_do(shell: str, tmp_path: Path) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"NOT TESTED: there is no {shell}")
    (tmp_path / "sh").symlink_to(found)
    body = f"guard_shell._SHELL = {str(tmp_path / 'sh')!r}\n"
    with service(body + start(IGNORES)) as one:
        (pid,) = one.told()
        its_guard = one.guard()
        assert str(tmp_path).encode() in Path(f"/proc/{its_guard}/cmdline").read_bytes()
        one.kill()
        until_gone(pid, its_guard)


@pytest.mark.parametrize("target", ["-{pid}", "{pid}"])
def test_a_number_of_another_process_gets_no_signal(target: str) -> None:
    """The helper was reaped without the knowledge of its service, and the number is new."""
    with subprocess.Popen(["/bin/sleep", "1000"], process_group=0) as other:
        try:
            entry = target.replace("{pid}", str(other.pid)) + ":1:0"
            body = f"guard.prepare()\nguard.add({entry!r})\ntell()"
            with service(body + WAIT) as one:
                one.told()
                its_guard = one.guard()
                one.kill()
                until_gone(its_guard)
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.parametrize("own_group", [True, False])
def test_an_entry_says_when_its_process_started(own_group: bool) -> None:
    with subprocess.Popen(["/bin/sleep", "1000"]) as other:
        stat = Path(f"/proc/{other.pid}/stat").read_text()
        start = stat.rpartition(")")[2].split()[19]
        sign = "-" if own_group else ""
        entry = guard.entry(other.pid, 2.01, own_group=own_group)
        assert entry == f"{sign}{other.pid}:{start}:21"
        other.kill()
    none = 2**30  # more than there can be
    assert guard.entry(none, 10**9, own_group=True) == f"-{none}:0:100000000"


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"


def test_a_stopped_guard_is_told_later_what_it_has_missed() -> None:
    """The service does not wait for it, and nothing is forgotten."""
    body = f"""
first, second = start({IGNORES!r}, grace=0.1), start({BEHAVES!r})
tell(first.process.pid)
sys.stdin.readline()
for _ in range(100_000):
    guard.add("-0:1"); guard.remove("-0:1")
second.stop()
third = start({IGNORES!r}, grace=0.1)
tell(third.process.pid)
sys.stdin.readline()
while guard._guard._told != guard._guard._listed:
    guard.remove("nothing")
tell(*guard._guard._told)
"""
    with service(body + WAIT) as one:
        (first,) = one.told()
        its_guard = one.guard()
        os.kill(its_guard, signal.SIGSTOP)
        until(lambda: stopped(its_guard))
        go_on(one)
        (third,) = one.told()
        os.kill(its_guard, signal.SIGCONT)
        go_on(one)
        listed = {entry.partition(":")[0] for entry in one.told()}
        assert listed == {f"-{first}", f"-{third}"}
        one.kill()
        until_gone(first, third, its_guard)


def go_on(one: Service) -> None:
    assert one.process.stdin
    one.process.stdin.write("\n")
    one.process.stdin.flush()
