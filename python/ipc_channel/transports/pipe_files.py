"""Named pipes: how they are made, which may be opened, and the lock of the server's own."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ipc_channel.errors import BadRendezvousError
from ipc_channel.users import why_not_ours

with contextlib.suppress(ImportError):  # Windows, which has no POSIX named pipes
    import fcntl


def make_pipes(*paths: str) -> None:
    """Make new pipes, then put them at ``paths``, in this order, in place of older ones.

    Raises BadRendezvousError for anything that is not a pipe of our user: replacing it
    could destroy the only copy of a file.
    """
    for path in paths:
        _check_replaceable(path)
        if _check_replaceable(path + ".new"):  # left behind by a call that failed
            os.unlink(path + ".new")
        os.mkfifo(path + ".new", 0o600)
        os.chmod(path + ".new", 0o600)  # independent of the umask
    for path in paths:
        os.rename(path + ".new", path)


def _check_replaceable(path: str) -> bool:
    """Return whether a pipe exists; raise BadRendezvousError for anything else."""
    try:
        check_fifo(path, os.lstat(path))
    except FileNotFoundError:
        return False
    return True


def check_path(path: str) -> os.stat_result | None:
    """Return the status of ``path``, or None if nothing exists there.

    Raises BadRendezvousError if it is not a named pipe of our own user.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        raise_unless_missing(path, error)
        return None
    check_fifo(path, status)
    return status


def check_fifo(path: str, status: os.stat_result) -> None:
    """Raise BadRendezvousError unless ``status`` is a named pipe of our own user."""
    if stat.S_ISLNK(status.st_mode):
        why = "it is a symbolic link"
    elif not stat.S_ISFIFO(status.st_mode):
        why = "it is not a named pipe"
    elif (why_not := why_not_ours(status.st_uid)) is not None:
        why = f"it {why_not}"
    else:
        return
    raise BadRendezvousError(f"bad rendezvous {path!r}: {why}")


def raise_unless_missing(path: str, error: OSError) -> None:
    """Raise unless ``error`` means that a pipe, or its reader, does not exist yet."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise error  # this process lacks resources; the rendezvous is not to blame
    if error.errno not in (errno.ENOENT, errno.ENXIO):
        raise BadRendezvousError(f"bad rendezvous {path!r}: {error.strerror}") from error


def mark_as_read_by_server(fd: int) -> None:
    """Lock the pipe ``fd``, so that a client that reads from it by mistake is told so.

    If a client holds the lock for its check at this moment, the next call locks it.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_read_by_server(fd: int) -> bool:
    """Whether a server has locked the pipe ``fd`` because it reads from it itself."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
