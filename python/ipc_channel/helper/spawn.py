"""Start a process on POSIX with the signal state of a fresh login, in a group of its own.

A helper inherits the signals that the service ignores or blocks: a helper that starts
with SIGTERM blocked cannot clean up. Only the child can undo that: if the service
unblocked a signal even for a moment, a pending signal would be delivered to it.
``posix_spawn`` undoes it in the child. ``subprocess`` would need ``preexec_fn``, which
is unsafe with threads. ``subprocess`` also loses the number of the process if a signal
handler raises right after the start, and then the process could never be ended.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import signal
import stat

# Without enums, which take longer than all that is done with them.
from _signal import SIG_IGN, getsignal  # type: ignore[import-not-found]
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ipc_channel import fork
from ipc_channel.helper.advice import interpreter_of

# posix_spawn cannot set a working directory, so a shell does.
_IN_DIRECTORY = 'cd -P -- "$0" && exec "$@"'
_MOST_DESCRIPTORS = 2**16  # checked at most where the system does not list them


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
    streams: Mapping[int, int],
    started: list[int],
) -> None:
    """Start ``command`` with an empty standard input and default signal actions.

    ``own_group`` keeps Ctrl-C in the terminal from it. ``streams`` has the descriptors
    that take the place of standard output (1) and standard error (2). Appends the number of
    the process to ``started``, even if a signal handler raises meanwhile. Raises OSError or
    ValueError.
    """
    if cwd is not None:
        command = _in_directory(command, env, cwd)
    options: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    program = _find(command[0], env)
    with closing_inherited() as closed:
        start = functools.partial(
            os.posix_spawn,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                *_missing(streams),
                *((os.POSIX_SPAWN_DUP2, ours, stream) for stream, ours in streams.items()),
                *closed,
            ],
            setsigmask=(),
            setsigdef=[*_ignored(), *_IGNORED_BY_PYTHON],
            **options,
        )
        # A single call, since a handler that runs between two calls could raise, and the
        # number of the process would be lost.
        started.extend(map(start, [program], [list(command)], [env]))


def _missing(streams: Mapping[int, int]) -> Iterator[tuple[Any, ...]]:
    """Yield the actions that give the child a stream that is closed here.

    Otherwise its connection could get the number, and what it prints would be sent there.
    """
    for stream in {1, 2} - set(streams):
        try:
            is_ours = os.get_inheritable(stream)  # or else another file has the number
        except OSError:
            is_ours = False
        if not is_ours:
            yield os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0


def _in_directory(
    command: Sequence[str], env: Mapping[str, str], cwd: str | os.PathLike[str]
) -> list[str]:
    """Return a shell command; raise the OSErrors that the shell would only print."""
    _, directory = locate(command, env, cwd)
    assert directory is not None
    return ["/bin/sh", "-c", _IN_DIRECTORY, directory, *command]


def locate(
    command: Sequence[str], env: Mapping[str, str], cwd: str | os.PathLike[str] | None
) -> tuple[str, str | None]:
    """Return the path of a program, and of the directory in which it is to start.

    Raises OSError if the program cannot be started there.
    """
    directory = None
    if cwd is not None:
        _check_directory(os.fsdecode(cwd))
        # Absolute, since "-", for instance, has a meaning in the shell.
        directory = os.path.join(os.getcwd(), os.fsdecode(cwd))
    program = _find(command[0], env)
    _check_program(os.path.join(directory or "", program), directory or "")
    return program, directory


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
    with contextlib.suppress(PermissionError):  # it may be executable but unreadable
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
    """Return the signals that a service can ignore, without those Python ignores."""
    fixed = {signal.SIGKILL, signal.SIGSTOP, *_IGNORED_BY_PYTHON}
    return tuple(map(int, signal.valid_signals() - fixed))


def _ignored() -> list[int]:
    return [number for number in _settable() if getsignal(number) == SIG_IGN]


def _find(program: str, env: Mapping[str, str]) -> str:
    """Return the path of ``program``, searching for it as ``subprocess`` does."""
    if os.path.dirname(program):
        return program
    found = shutil.which(program, path=os.pathsep.join(os.get_exec_path(env)))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    return found


@contextlib.contextmanager
def closing_inherited() -> Iterator[list[tuple[int, int]]]:
    """Yield the ``posix_spawn`` actions that close inheritable descriptors in the child.

    The C library refuses to close numbers at or above RLIMIT_NOFILE, which may have been
    lowered after they were opened. Those are made close-on-exec for this time. The
    kernel does not reuse them meanwhile, since it assigns no number above the limit.
    """
    limit = os.sysconf("SC_OPEN_MAX")
    with fork.lock:  # or another start would find them close-on-exec
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
    """Return the descriptors that a new program would inherit, except 0, 1 and 2."""
    found = []
    for number in _descriptors():
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return found


def _descriptors() -> Iterable[int]:
    try:
        return map(int, os.listdir("/dev/fd"))
    except FileNotFoundError:  # without /proc, for instance
        return range(min(os.sysconf("SC_OPEN_MAX"), _MOST_DESCRIPTORS))
