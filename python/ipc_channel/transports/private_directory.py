"""The directory that holds the named pipes of one channel (spec/rendezvous.md).

Its owner keeps a lock on it (``flock``) for as long as it lives. The lock tells
other processes that the directory is in use, whatever pid namespace they run in,
and keeps systemd-tmpfiles away. A service that is killed cannot remove its
directory; the next channel of the same user does so, because no lock is left.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import time
import weakref
from typing import Final

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports.pipe_address import check_named_pipes_exist
from ipc_channel.transports.pipe_files import make_pipes
from ipc_channel.transports.temporary_directory import (
    saying_what_to_do,
    temporary_directory,
)
from ipc_channel.users import why_not_ours

with contextlib.suppress(ImportError):  # Windows, which has no POSIX named pipes
    import fcntl

NONE: Final = -1
"""Stands for a descriptor that is not open."""

# Not just "ipc-channel-": other programs may name directories so and hold no lock.
_PREFIX = "ipc-channel-py-"
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")  # what mkdtemp makes of it
_PIPES = "in", "out", "in.new", "out.new"
_SWEEP_SHARE = 0.01  # of the time, at most, goes into looking for stale directories


class PrivateDirectory:
    """A fresh 0700 directory that holds the named pipes of one channel.

    A pipe serves one session only, since it would hand what one peer left
    over to the next. So :meth:`refresh` puts new pipes in the place of used
    ones: as soon as a session has proved to be one, or at its end.
    """

    def __init__(self) -> None:
        check_named_pipes_exist()
        parent = temporary_directory()
        remove_stale(parent)
        with saying_what_to_do(repr(parent)), fork.lock:
            self._directory = _LockedDirectory(*_create(parent))
        self.path = self._directory.path
        self.in_path = os.path.join(self.path, "in")
        self.out_path = os.path.join(self.path, "out")
        self._remove = weakref.finalize(self, self._directory.remove)  # also at exit
        try:
            with saying_what_to_do(repr(parent)):
                self._make()
        except BaseException:
            self.remove()
            raise

    def refresh(self) -> None:
        """Put new pipes of the same names in place of those that are used or missing.

        A cleaner of old files may have removed the pipes, or the directory with
        them; it is made anew at the same path, which the helper was told.

        Raises BadRendezvousError if the path leads to something that is not ours, or
        to nothing, as when the directory above was renamed.
        """
        try:
            if not self._remove.alive or not self._directory.hold():
                return
            if self.used or not all(map(os.path.lexists, (self.in_path, self.out_path))):
                self._make()
        except (FileNotFoundError, NotADirectoryError) as error:
            parent = os.path.dirname(self.path)
            if os.path.isdir(parent):
                return  # a cleaner came in between: the next try makes all anew
            raise BadRendezvousError(
                f"the channel's directory {self.path!r} cannot be made anew"
                f" ({error.strerror}): put {parent!r} back and connect again, or close"
                " the channel and make another"
            ) from error

    def try_refresh(self) -> None:
        """Refresh, or leave it to the next connect, which can report what is wrong."""
        with contextlib.suppress(OSError, BadRendezvousError):
            self.refresh()

    def remove(self) -> None:
        """Remove the directory; nothing happens the second time."""
        self._remove()

    def _make(self) -> None:
        # `out` last: a client that finds its `in` right has the right `out` as well.
        make_pipes(self.in_path, self.out_path)
        self.used = False
        """Whether a session has been made of the present pipes."""


class _LockedDirectory:
    """A directory that this process has locked, so that other processes leave it alone."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._process = fork.this_process()
        fork.in_child(self, _LockedDirectory.let_go)  # or its lock would outlive us

    def hold(self) -> bool:
        """Return True if the path leads to the locked directory, made anew if it was gone.

        Return False if another process is just removing it. Raises
        BadRendezvousError if the path leads to something that is not ours.
        """
        if not self._process.runs:
            return False
        with contextlib.suppress(FileNotFoundError):
            there = os.lstat(self.path)
            _check(self.path, there)
            if os.path.samestat(there, os.fstat(self._fd)):
                return True
            with fork.lock:
                return self._take(_lock(self.path))
        with fork.lock:
            return self._make_anew()

    def remove(self) -> None:
        """Remove the directory and let go of it, unless this is a forked child."""
        if self._process.runs:
            with contextlib.suppress(OSError):
                _remove(self.path, self._fd)
            self.let_go()

    def let_go(self) -> None:
        """Close the descriptor: the lock goes with the last one."""
        with fork.lock:
            if self._fd != NONE:
                os.close(self._fd)
                self._fd = NONE

    def _make_anew(self) -> bool:
        """Make it under another name, so that it has its mode and its lock from the start."""
        path, fd = _create(os.path.dirname(self.path))
        try:
            os.rename(path, self.path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.rmdir(path)
            os.close(fd)
            if not isinstance(error, OSError):
                raise
            _check(self.path, os.lstat(self.path))  # something has come there since
            return False
        return self._take(fd)

    def _take(self, fd: int) -> bool:
        if fd == NONE:
            return False
        self.let_go()
        self._fd = fd
        return True


def _create(parent: str) -> tuple[str, int]:
    """Make a directory of a new name; return its path and a descriptor with the lock."""
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        try:
            _make_private(path)
            fd = _lock(path)
        except FileNotFoundError:
            continue  # another process took it for stale: it had no lock yet
        except BaseException:
            os.rmdir(path)
            raise
        if fd != NONE:
            return path, fd
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _make_private(path: str) -> None:
    os.chmod(path, 0o700)  # whatever the umask has taken away
    if (mode := stat.S_IMODE(os.lstat(path).st_mode)) & 0o777 != 0o700:
        raise BadRendezvousError(
            f"{path!r} was given mode 0700 and has {mode:04o}: its file system keeps no "
            "modes, and other users could come in; set TMPDIR to another, or use TCP"
        )


def _check(path: str, status: os.stat_result) -> None:
    """Raise BadRendezvousError unless ``status`` is a directory that is ours alone."""
    if not stat.S_ISDIR(status.st_mode):
        why = "is not a directory"
    elif (why_not := why_not_ours(status.st_uid)) is not None:
        why = why_not
    elif (mode := stat.S_IMODE(status.st_mode) & 0o777) != 0o700:
        why = f"has mode {mode:04o}, not 0700"
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
    """Return a descriptor of the directory at ``path``, with the lock.

    ``NONE`` if another process has the lock, or has removed the directory: it took
    the directory for stale in the moment before it was locked.
    """
    fd = _open_directory(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return NONE
    except OSError:
        pass  # a file system without locks, where nothing is ever taken for stale
    if _leads_to(path, fd):
        return fd
    os.close(fd)
    return NONE


def _leads_to(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _remove(path: str, fd: int) -> None:
    """Remove the directory ``fd``, which is locked, with its pipes and nothing else."""
    for (
        name
    ) in _PIPES:  # not what a listing has: that takes a descriptor, which may be lacking
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISFIFO(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=fd)
    if _leads_to(path, fd):
        os.rmdir(path)


_next_sweep: dict[str, float] = {}


def remove_stale(parent: str) -> None:
    """Remove directories in ``parent`` that processes of our user have left behind.

    Costs little: where looking takes long, it is not done each time.
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
    if why_not_ours(status.st_uid) is not None or status.st_mode & 0o077:
        return
    with fork.lock:  # or else a child of another thread would inherit the lock
        try:
            fd = _open_directory(path)
        except PermissionError:
            os.rmdir(path)  # its maker was killed before it set the mode: it is empty
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its owner lives
            _remove(path, fd)
        finally:
            os.close(fd)
