"""A lock beside a file whose path others know too (spec/rendezvous.md, RDV-68)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports.locked_directory import NONE, leads_to
from ipc_channel.users import why_not_ours

with contextlib.suppress(ImportError):  # Windows
    import fcntl


class LockFile:
    """A file that exists while a process holds the lock on it.

    It is removed under the lock. A process that had opened it by then locks a file
    that no path leads to, notices that, and tries again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = NONE
        fork.in_child(self, LockFile.let_go)  # or the lock would outlive the service

    def acquire(self) -> bool:
        """Take the lock; return False if another process has it.

        Raises BadRendezvousError if the path leads to something else than a lock file
        of our user, and OSError if the file cannot be made.
        """
        with fork.lock:
            while self._fd == NONE:  # until the path leads to the file that is locked
                fd = self._open()
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if leads_to(self.path, fd):
                        self._fd = fd
                except BlockingIOError:
                    return False
                finally:
                    if self._fd != fd:
                        os.close(fd)
        return True

    def holds(self) -> bool:
        """Whether the path still leads to the file that is locked."""
        return self._fd != NONE and leads_to(self.path, self._fd)

    def renew(self) -> bool:
        """Take the lock anew if its file was removed; return False as ``acquire`` does."""
        if self.holds():
            return True
        self.let_go()
        return self.acquire()

    def release(self) -> None:
        """Remove the file and give up the lock."""
        with contextlib.suppress(OSError):
            if self.holds():
                os.unlink(self.path)
        self.let_go()

    def let_go(self) -> None:
        """Close the descriptor, and leave the file alone."""
        with fork.lock:
            if self._fd != NONE:
                os.close(self._fd)
                self._fd = NONE

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(self.path, flags, 0o600)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise self._refusal("is not a regular file") from error
            if error.errno != errno.EACCES or not self._lacks_its_mode():
                raise
            os.chmod(self.path, 0o600)
            fd = os.open(self.path, flags, 0o600)
        try:
            if (why := _why_not_a_lock(os.fstat(fd))) is not None:
                raise self._refusal(why)
            os.fchmod(fd, 0o600)  # whatever the umask has taken away
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _lacks_its_mode(self) -> bool:
        """Whether a service with a strict umask was killed before it set the mode."""
        try:
            return _why_not_a_lock(os.lstat(self.path)) is None
        except OSError:  # it is the directory that cannot be used
            return False

    def _refusal(self, why: str) -> BadRendezvousError:
        return BadRendezvousError(
            f"the lock file {self.path!r} {why}: remove it, or choose another path"
        )


def _why_not_a_lock(status: os.stat_result) -> str | None:
    """Say why a file is no lock of ours, which would be removed at the end; None if it is."""
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_size:
        return "is not empty, so it may be precious"
    if status.st_nlink > 1:
        return "has another name, so it may be precious"
    return why_not_ours(status.st_uid)
