"""A directory of one channel, in which other users can change nothing (spec/rendezvous.md).

The owning process holds a lock on it (``flock``) for as long as it lives. The lock
tells other processes that the directory is in use, whatever pid namespace they run
in, and keeps systemd-tmpfiles away. A service that is killed cannot remove its
directory; the next channel of the same user removes it, since it is unlocked then.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import time
from typing import Final, Self

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.users import why_not_ours

with contextlib.suppress(ImportError):  # Windows, which has none of these transports
    import fcntl

NONE: Final = -1
"""Stands for a descriptor that is not open."""

# Not just "ipc-channel-": other programs may use that prefix without holding a lock.
_PREFIX = "ipc-channel-py-"
NAME_SIZE: Final = len(_PREFIX) + 8
"""Bytes in the name of a directory."""
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")  # the names that mkdtemp makes
_CONTENTS = "in", "out", "in.new", "out.new", "socket"
_SWEEP_SHARE = 0.01  # at most this share of the time goes into sweeping


class LockedDirectory:
    """A directory that this process has locked, so that other processes leave it alone.

    ``mode`` is 0700, or 0711 if processes of other users have to reach files in it.
    """

    def __init__(self, path: str, fd: int, mode: int) -> None:
        self.path = path
        self._fd = fd
        self._mode = mode
        self._process = fork.this_process()
        fork.in_child(self, LockedDirectory.let_go)  # or the child would keep the lock

    @classmethod
    def create(cls, parent: str, mode: int = 0o700) -> Self:
        """Make a directory of a new name in ``parent``, and remove stale ones."""
        remove_stale(parent)
        with fork.lock:
            return cls(*_create(parent, mode), mode)

    def hold(self) -> bool:
        """Return True if the path leads to the locked directory; recreate a missing one.

        Return False if another process is removing it at this moment. Raises
        BadRendezvousError if the path leads to something that is not ours.
        """
        if not self._process.runs:
            return False
        with contextlib.suppress(FileNotFoundError):
            there = os.lstat(self.path)
            _check(self.path, there, self._mode)
            if os.path.samestat(there, os.fstat(self._fd)):
                return True
            with fork.lock:
                return self._take(_lock(self.path))
        with fork.lock:
            return self._make_anew()

    def check_parent(self, error: OSError) -> None:
        """Raise BadRendezvousError, because of ``error``, if the directory above is gone."""
        parent = os.path.dirname(self.path)
        if not os.path.isdir(parent):
            raise BadRendezvousError(
                f"the channel's directory {self.path!r} cannot be recreated"
                f" ({error.strerror}): restore {parent!r} and connect again, or close"
                " the channel and make another"
            ) from error

    def remove(self) -> None:
        """Remove and unlock the directory, unless this is a forked child."""
        if self._process.runs:
            with contextlib.suppress(OSError):
                _remove(self.path, self._fd)
            self.let_go()

    def let_go(self) -> None:
        """Close the descriptor; the lock ends when every copy of it is closed."""
        with fork.lock:
            if self._fd != NONE:
                os.close(self._fd)
                self._fd = NONE

    def _make_anew(self) -> bool:
        """Create it under another name, then rename it: so it is never without its lock."""
        path, fd = _create(os.path.dirname(self.path), self._mode)
        try:
            os.rename(path, self.path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.rmdir(path)
            os.close(fd)
            if not isinstance(error, OSError):
                raise
            _check(self.path, os.lstat(self.path), self._mode)  # it exists again by now
            return False
        return self._take(fd)

    def _take(self, fd: int) -> bool:
        if fd == NONE:
            return False
        self.let_go()
        self._fd = fd
        return True


def _create(parent: str, mode: int) -> tuple[str, int]:
    """Make a directory of a new name; return its path and its locked descriptor."""
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        try:
            _set_mode(path, mode)
            fd = _lock(path)
        except FileNotFoundError:
            continue  # another process removed it as stale before it was locked
        except BaseException:
            os.rmdir(path)
            raise
        if fd != NONE:
            return path, fd
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _set_mode(path: str, wanted: int) -> None:
    os.chmod(path, wanted)  # independent of the umask
    if (mode := stat.S_IMODE(os.lstat(path).st_mode)) & 0o777 != wanted:
        raise BadRendezvousError(
            f"{path!r} was given mode {wanted:04o} and has {mode:04o}: its file system does"
            " not keep modes, so other users could change it; set TMPDIR to a directory"
            ' on another file system, or use transport="tcp"'
        )


def _check(path: str, status: os.stat_result, wanted: int) -> None:
    """Raise BadRendezvousError unless ``status`` is a directory of our user and mode."""
    if not stat.S_ISDIR(status.st_mode):
        why = "is not a directory"
    elif (why_not := why_not_ours(status.st_uid)) is not None:
        why = why_not
    elif (mode := stat.S_IMODE(status.st_mode) & 0o777) != wanted:
        why = f"has mode {mode:04o}, not {wanted:04o}"
    else:
        return
    raise BadRendezvousError(
        f"the channel's directory {path!r} was replaced or changed: it {why}; "
        "close the channel and make another"
    )


def _open_directory(path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags)


def _lock(path: str) -> int:
    """Return a locked descriptor of the directory at ``path``.

    ``NONE`` if another process has the lock, or has removed the directory: in the
    moment before it is locked, another process may take it for stale.
    """
    fd = _open_directory(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return NONE
    except OSError:
        pass  # a file system without locks, on which no process removes stale directories
    if leads_to(path, fd):
        return fd
    os.close(fd)
    return NONE


def leads_to(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove(path: str, fd: int) -> None:
    """Remove the directory ``fd``, which is locked, with the files of a channel."""
    # By name, since a listing needs another descriptor, and none may be free.
    for name in _CONTENTS:
        with contextlib.suppress(FileNotFoundError):
            kind = stat.S_IFMT(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
            if kind in (stat.S_IFIFO, stat.S_IFSOCK):
                os.unlink(name, dir_fd=fd)
    if leads_to(path, fd):
        os.rmdir(path)


_next_sweep: dict[str, float] = {}


def remove_stale(parent: str) -> None:
    """Remove directories in ``parent`` that processes of our user have left behind.

    The longer one sweep of ``parent`` takes, the longer the pause before the next one.
    """
    start = time.monotonic()
    if start < _next_sweep.get(parent, start):
        return
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_if_stale(entry.path)
    end = time.monotonic()
    _next_sweep[parent] = end + (end - start) / _SWEEP_SHARE


def _remove_if_stale(path: str) -> None:
    status = os.lstat(path)
    if why_not_ours(status.st_uid) is not None or status.st_mode & 0o066:
        return
    with fork.lock:  # or else a child forked by another thread would inherit the lock
        try:
            fd = _open_directory(path)
        except PermissionError:
            os.rmdir(path)  # its owner was killed before it set the mode: it is empty
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
            _remove(path, fd)
        finally:
            os.close(fd)
