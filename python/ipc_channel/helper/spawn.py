"""Start a process with the signal state of a fresh login, in a group of its own.

A signal that the service ignores or blocks would stay so in the helper: one whose
SIGTERM is blocked cannot clean up. Only the child may undo that, since a pending
signal would be delivered to the service if it were unblocked there even for a moment.
``posix_spawn`` does, and ``subprocess`` cannot without ``preexec_fn``, which is unsafe
beside threads. Nor does ``subprocess`` keep the number of a process if a signal handler
raises just as the process has started, and then nothing could end that any more.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ipc_channel import fork
from ipc_channel.helper.advice import interpreter_of

# What the shell does for posix_spawn, which knows no working directory.
_IN_DIRECTORY = 'cd -P -- "$0" && exec "$@"'
_MOST_DESCRIPTORS = 2**16  # that are looked at where the system does not list them


def popen(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
) -> subprocess.Popen[bytes]:
    """Start ``command`` on Windows, with an empty standard input.

    ``own_group`` keeps Ctrl-C in the terminal from it. Raises OSError or ValueError.
    """
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if own_group else 0
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env=env, cwd=cwd, creationflags=flags
    )


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
    started: list[int],
) -> None:
    """Start ``command`` as :func:`popen` does, on POSIX, with signals as they are by default.

    Its number is in ``started`` as soon as there is a process, also if a signal handler
    raises meanwhile.
    """
    if cwd is not None:
        command = _in_directory(command, env, cwd)
    options: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    program = _find(command[0], env)
    with _none_beyond_limit() as closed:
        start = functools.partial(
            os.posix_spawn,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), *closed],
            setsigmask=(),
            setsigdef=[*_ignored(), *_IGNORED_BY_PYTHON],
            **options,
        )
        # All of it is one call: behind each, handlers run, and what it returns may be lost.
        started.extend(map(start, [program], [list(command)], [env]))


def _in_directory(
    command: Sequence[str], env: Mapping[str, str], cwd: str | os.PathLike[str]
) -> list[str]:
    """Return a command of the shell; raise OSError for what the shell could only print."""
    _check_directory(os.fsdecode(cwd))
    # Absolute: "-" and the like mean something to the shell.
    directory = os.path.join(os.getcwd(), os.fsdecode(cwd))
    _check_program(os.path.join(directory, _find(command[0], env)), directory)
    return ["/bin/sh", "-c", _IN_DIRECTORY, directory, *command]


def _check_directory(path: str) -> None:
    try:
        os.stat(os.path.join(path, "."))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _check_program(program: str, directory: str) -> None:
    """Raise OSError if ``program`` cannot be started in ``directory``."""
    if stat.S_ISDIR(os.stat(program).st_mode) or not os.access(program, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)
    interpreter = None
    with contextlib.suppress(PermissionError):  # it may be executable only
        interpreter = interpreter_of(program)
    if interpreter is not None and not os.path.exists(os.path.join(directory, interpreter)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)


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


@contextlib.contextmanager
def _none_beyond_limit() -> Iterator[list[tuple[int, int]]]:
    """Give the actions that close inheritable descriptors in the process.

    Those at or above RLIMIT_NOFILE, which was lowered after they had been opened, are
    close-on-exec meanwhile, as the C library refuses to close such numbers. The numbers
    are not used again meanwhile: the kernel gives out none above the limit.
    """
    limit = os.sysconf("SC_OPEN_MAX")
    with fork.lock:  # or another start would take them for close-on-exec for good
        numbers = _inheritable()
        beyond = [number for number in numbers if 0 <= limit <= number]
        try:
            _set_inheritable(beyond, False)
            yield [(os.POSIX_SPAWN_CLOSE, n) for n in numbers if n not in beyond]
        finally:
            _set_inheritable(beyond, True)


def _set_inheritable(numbers: Iterable[int], inheritable: bool) -> None:
    for number in numbers:
        with contextlib.suppress(OSError):  # closed by another thread
            os.set_inheritable(number, inheritable)


def _inheritable() -> list[int]:
    """Return the descriptors that a new program would get, but for the standard ones."""
    found = []
    for number in _descriptors():
        with contextlib.suppress(OSError):  # that of the listing is closed by now
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return found


def _descriptors() -> Iterable[int]:
    try:
        return map(int, os.listdir("/dev/fd"))
    except FileNotFoundError:  # as where /proc is not mounted
        return range(min(os.sysconf("SC_OPEN_MAX"), _MOST_DESCRIPTORS))
