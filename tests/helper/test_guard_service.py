"""What a service does while it has a guard: it forks, has threads, limits, and no files."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from guards import WAIT, guards_of, service, until, until_gone
from helper_programs import BEHAVES, IGNORES
from other_users import STRANGER, needs_root
from process_tree import lives

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a job object does it")


def test_threads_that_start_the_first_helpers_have_one_guard() -> None:
    body = f"""
threads = [threading.Thread(target=start, args=[{IGNORES!r}], kwargs={{"grace": 0.1}})
    for _ in range(8)]
for one in threads: one.start()
for one in threads: one.join()
tell(*(one.process.pid for one in kept))
"""
    with service(body + WAIT) as one:
        pids = one.told()
        assert len(pids) == 8
        guard = one.guard()
        one.kill()
        until_gone(*pids, guard)


FORKS = f"""
ours = start({IGNORES!r}, grace=0.1).process.pid
child = os.fork()
theirs = start({IGNORES!r}, grace=0.1).process.pid if child == 0 else 0
tell(os.getpid(), ours, theirs)
time.sleep(1000)
"""


@pytest.mark.parametrize("first", ["parent", "child"])
def test_a_forked_child_has_a_guard_of_its_own(first: str) -> None:
    """Neither keeps the other's guard waiting, nor ends the other's helpers."""
    with service(FORKS) as one:
        told = sorted((one.told(), one.told()), key=lambda each: each[2])
        (parent, ours, _), (child, _, theirs) = told
        assert parent == one.process.pid
        guards = [*guards_of(parent), *guards_of(child)]
        assert len(guards) == 2
        pairs = [(parent, ours), (child, theirs)]
        if first == "child":
            pairs.reverse()
        for pid, helper in pairs:
            assert lives(helper)
            os.kill(pid, signal.SIGKILL)
            until_gone(helper)
        until_gone(*guards)


@pytest.mark.parametrize("action", ["SIG_DFL", "SIG_IGN"])
def test_a_guard_that_was_killed_is_replaced_with_the_next_helper(action: str) -> None:
    """The new one has the helpers of the old one on its list."""
    body = f"""
signal.signal(signal.SIGPIPE, signal.{action})
first, second = start({IGNORES!r}, grace=0.1), start({BEHAVES!r})
tell(first.process.pid)
sys.stdin.readline()
second.stop()  # tells a guard that does not live
third = start({IGNORES!r}, grace=0.1)
tell(third.process.pid)
"""
    with service(body + WAIT) as one:
        (first,) = one.told()
        guard = one.guard()
        os.kill(guard, signal.SIGKILL)
        until_gone(guard)
        assert one.process.stdin
        one.process.stdin.write("\n")
        one.process.stdin.flush()
        (third,) = one.told()
        assert lives(first)
        guard = one.guard()
        one.kill()
        until_gone(first, third, guard)


def test_a_service_without_standard_descriptors_has_a_guard() -> None:
    """Its socket may then have the number of a descriptor that the shell uses."""
    body = f"""
told = os.dup(1)
os.closerange(0, 3)
pid = start({IGNORES!r}, grace=0.1).process.pid
os.write(told, b"[%d]\\n" % pid)
time.sleep(1000)
"""
    with service(body) as one:
        (pid,) = one.told()
        guard = one.guard()
        one.kill()
        until_gone(pid, guard)


def test_a_service_that_closes_all_descriptors_gets_another_guard() -> None:
    """As a daemon does; nothing is written to what has their numbers by then."""
    body = f"""
import socket
start({BEHAVES!r}).stop()
kept.clear()
number = guard.descriptor()
os.closerange(3, 100)
theirs, ours = socket.socketpair()
os.dup2(ours.fileno(), number)
pid = start({IGNORES!r}, grace=0.1).process.pid
theirs.setblocking(False)
try:
    tell("got", theirs.recv(100).decode())
except BlockingIOError:
    tell(pid)
"""
    with service(body + WAIT) as one:
        (pid,) = one.told()
        until(lambda: len(guards_of(one.process.pid)) == 1)
        guard = one.guard()
        one.kill()
        until_gone(pid, guard)


@needs_root
def test_a_guard_that_cannot_sleep_kills_at_once() -> None:
    """The user has as many processes as the limit allows: so no grace is waited for."""
    body = f"""
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from guards import guards_of
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
sleeps = ["/bin/sleep", "1000"]
command = Command(sleeps, env=None, cwd=None, process_group=True, end_grace=100000)
process = command.start({{}})
(its_guard,) = guards_of(os.getpid())
resource.prlimit(its_guard, resource.RLIMIT_NPROC, (1, 1))
tell(process.pid, its_guard)
"""
    with service(body + WAIT) as one:
        pid, guard = one.told()
        one.kill()
        until_gone(pid, guard)


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [("NOFILE", "free", "ulimit -n"), ("NPROC", "1", "ulimit -u")],
)
@needs_root
def test_without_the_means_for_a_guard_no_helper_starts(
    limit: str, value: str, text: str
) -> None:
    body = f"""
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
sleeps = ["/bin/sleep", "1000"]
command = Command(sleeps, env=None, cwd=None, process_group=True, end_grace=1)
free = os.dup(0)
os.close(free)
former = resource.getrlimit(resource.RLIMIT_{limit})
resource.setrlimit(resource.RLIMIT_{limit}, ({value}, former[1]))
try:
    command.start({{}})
except Exception as error:
    resource.setrlimit(resource.RLIMIT_{limit}, former)
    tell(str(error), children())
"""
    with service(body + WAIT) as one:
        error, children = one.told()
        assert text in error
        assert children == []
        assert guards_of(one.process.pid) == []


def test_without_a_shell_a_helper_starts_all_the_same() -> None:
    """As in a container that has no shell; the service is warned, once."""
    body = f"""
import logging
class Collects(logging.Handler):
    def emit(self, record):
        texts.append(self.format(record))
texts = []
logging.getLogger("ipc_channel").addHandler(Collects())
guard_shell._SHELL = "/nowhere/sh"
start({BEHAVES!r}).stop()
start({BEHAVES!r}).stop()
tell(*texts)
"""
    with service(body) as one:
        (text,) = one.told()
        assert "will outlive this process if it is killed" in text
        assert "'/nowhere/sh'" in text


def rss(pid: int) -> int:
    """Return the memory of a process in KiB."""
    text = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(text.partition("VmRSS:")[2].split()[0])


def test_nothing_grows_with_a_thousand_helpers() -> None:
    body = """
def run(times):
    for _ in range(times):
        process = command.start({})
        while process.returncode is None: time.sleep(0.0001)
    tell(len(os.listdir("/proc/self/fd")), *guard._guard._told)

command = Command(["/bin/true"], env=None, cwd=None, process_group=True, end_grace=1)
run(10)
sys.stdin.readline()
run(1000)
"""
    with service(body + WAIT) as one:
        before = one.told()
        guard = one.guard()
        memory = rss(guard)
        assert one.process.stdin
        one.process.stdin.write("\n")
        one.process.stdin.flush()
        assert one.told() == before
        assert one.guard() == guard
        assert rss(guard) <= memory + 200
        one.kill()
        until(lambda: not lives(guard))
