"""Start a process with the signal state of a fresh login, in a group of its own.

A signal that the service ignores or blocks would stay so in the helper: one whose
SIGTERM is blocked cannot clean up. Only the child may undo that, since a pending
signal would be delivered to the service if it were unblocked there even for a moment.
``subprocess`` undoes nothing but what Python itself ignores, without ``preexec_fn``,
which is unsafe beside threads. So when there is something to undo, ``posix_spawn``
starts the process, and otherwise ``subprocess``.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What the shell does for posix_spawn, which knows no working directory.
_IN_DIRECTORY = 'CDPATH= cd -- "$0" && exec "$@"'


class Started(subprocess.Popen[bytes]):
    """A process that was started, or one that is gone if starting it was interrupted."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        try:
            super().__init__(command, **options)
        except BaseException:
            # A signal handler may raise between the start and our knowing of it.
            if getattr(self, "pid", None) is not None and self.returncode is None:
                self.kill()
                self.wait()
            raise


def popen(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
) -> Started:
    """Start ``command`` with an empty standard input.

    ``own_group`` keeps Ctrl-C in the terminal from it. Raises OSError or ValueError.
    """
    options: dict[str, Any] = {}
    if own_group and sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    elif own_group:
        options["process_group"] = 0
    return Started(command, stdin=subprocess.DEVNULL, env=env, cwd=cwd, **options)


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
) -> int:
    """Start ``command`` as :func:`popen` does, with signals as they are by default.

    Return its number, which the caller has to reap. POSIX only.
    """
    ignored = _ignored()
    if not ignored and not signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        started = popen(command, env=env, cwd=cwd, own_group=own_group)
        started.returncode = 0  # its end is not Popen's to look at
        return started.pid
    if cwd is not None:
        os.stat(os.path.join(cwd, ""))  # the shell could only print what is wrong
        # Absolute: "-" and the like mean something to the shell.
        command = ["/bin/sh", "-c", _IN_DIRECTORY, os.path.abspath(cwd), *command]
    options: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    return os.posix_spawn(
        _find(command[0], env),
        list(command),
        env,
        file_actions=list(_file_actions()),
        setsigmask=(),
        setsigdef=[*ignored, *_IGNORED_BY_PYTHON],
        **options,
    )


_IGNORED_BY_PYTHON = [
    number
    for name in ("SIGPIPE", "SIGXFSZ")
    if (number := getattr(signal, name, None)) is not None
]


@functools.cache
def _settable() -> tuple[int, ...]:
    """Return the signals that a service can ignore, beyond those ``subprocess`` resets."""
    fixed = {signal.SIGKILL, signal.SIGSTOP, *_IGNORED_BY_PYTHON}
    return tuple(map(int, signal.valid_signals() - fixed))


def _ignored() -> list[int]:
    return [number for number in _settable() if signal.getsignal(number) is signal.SIG_IGN]


def _find(program: str, env: Mapping[str, str]) -> str:
    """Return the path of ``program``, searched for as ``subprocess`` does."""
    if os.path.dirname(program):
        return program
    found = shutil.which(program, path=os.pathsep.join(os.get_exec_path(env)))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    return found


def _file_actions() -> Iterator[tuple[Any, ...]]:
    """Empty the standard input, and keep every other descriptor from the process."""
    yield os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # that of the listing is closed by now
            if int(name) > 2 and os.get_inheritable(int(name)):
                yield os.POSIX_SPAWN_CLOSE, int(name)
