"""Where private directories are made, and the errors when that is impossible."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
from collections.abc import Iterator

from ipc_channel import fork
from ipc_channel.log import safely
from ipc_channel.users import is_our_user

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_ELSEWHERE = (
    "set TMPDIR, or tempfile.tempdir, to a directory that exists and that this user"
    ' may write to, or use transport="tcp"'
)


def temporary_directory() -> str:
    """Return the absolute path of the temporary directory; raise OSError if there is none.

    tempfile may return a relative path, which would mean another directory in the
    helper, or in this process once it has changed its working directory.
    """
    try:
        return os.path.abspath(tempfile.gettempdir())
    except FileNotFoundError:
        with saying_what_to_do("a temporary directory"):
            _check_descriptors()  # without a free one, tempfile finds no usable directory
            raise


def short_directory(
    size: int, longest: int, logger: logging.Logger, *, is_open: bool
) -> str:
    """Return a temporary directory in which a path of ``size`` more bytes fits.

    If the usual one is too long for ``longest`` bytes in all, it is the directory of
    the user's session, which other users cannot enter (so not if ``is_open``), or the
    system's own. Raises OSError if there is none.
    """
    usual = temporary_directory()
    if _fits(usual, size, longest):
        return usual
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    others = [session] if _is_ours(session) and not is_open else []
    for parent in (*others, "/tmp", "/var/tmp"):  # noqa: S108  # a new directory in it
        if _fits(parent, size, longest) and os.access(parent, os.W_OK | os.X_OK):
            text = "%r is too long for the name of a Unix socket; using %r"
            safely(logger.debug, text, usual, parent)
            return parent
    with saying_what_to_do(repr(usual), "a Unix socket"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _fits(parent: str, size: int, longest: int) -> bool:
    return len(os.fsencode(parent)) + 1 + size <= longest


def _is_ours(session: str) -> bool:
    """Whether ``session`` is a directory of our user: sudo may leave another user's."""
    with contextlib.suppress(OSError):
        return os.path.isabs(session) and is_our_user(os.stat(session).st_uid)
    return False


@contextlib.contextmanager
def saying_what_to_do(
    where: str, what: str = "named pipes", advice: str = _ELSEWHERE
) -> Iterator[None]:
    """Make an OSError say that ``what`` cannot be made, and what to do about it.

    An address that is in use has said so itself.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
        if error.errno in _NO_DESCRIPTOR:
            advice = "no descriptor is free: close some, or raise ulimit -n"
        raise OSError(
            error.errno, f"cannot make {what} in {where}: {error.strerror}; {advice}"
        ) from error


def _check_descriptors() -> None:
    """Raise OSError unless a descriptor is free."""
    with fork.lock:
        os.close(os.open(os.sep, os.O_RDONLY | os.O_CLOEXEC))
