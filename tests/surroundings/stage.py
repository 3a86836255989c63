"""Ways to change what a process inherits; each runs just before exec."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

Change = Callable[[], None]

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)


def ignore(*numbers: signal.Signals) -> Change:
    """Ignore signals, as ``nohup`` does, or a shell for a job in the background."""

    def change() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return change


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


def leave_the_terminal() -> None:
    """Be without a terminal, and without a standard input at all."""
    os.setsid()
    os.close(0)


def umask(mask: int) -> Change:
    def change() -> None:
        os.umask(mask)

    return change


def few_descriptors(count: int) -> Change:
    """Lower the limit that a process may raise again, as a login shell's is low."""

    def change() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))

    return change


def closed_directory(program: str) -> Path | None:
    """Return the topmost directory above ``program`` that other users cannot enter."""
    for path in reversed(Path(os.path.realpath(program)).parents):
        if not path.stat().st_mode & 0o001:
            return path
    return None


def as_user(user: int, program: str, scratch: Path) -> list[str]:
    """Return the words before a command that have it run as an ordinary user.

    If the interpreter lies below a directory of root's alone, such as ``/root``, the
    command gets a mount namespace in which that directory holds the interpreter only.
    """
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    closed = closed_directory(program)
    if closed is None:
        return words
    below = Path(os.path.realpath(program)).relative_to(closed).parts[0]
    script = (
        'mount --bind "$1/$2" "$3" && mount -t tmpfs -o mode=755 tmpfs "$1" && '
        'mkdir "$1/$2" && mount --bind "$3" "$1/$2" && shift 3 && exec "$@"'
    )
    scratch.mkdir(parents=True)
    namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    return [*namespace, "sh", str(closed), below, str(scratch), *words]


def can_become_another() -> str | None:
    """Return why this process cannot become another user, or None if it can."""
    return None if os.geteuid() == 0 else "only root can become another user"
