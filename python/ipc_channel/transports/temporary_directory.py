"""Where private directories are made, and what is said if that cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator

from ipc_channel import fork

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_ELSEWHERE = (
    "set TMPDIR, or tempfile.tempdir, to a directory that exists and that this user"
    ' may write to, or use transport="tcp"'
)


def temporary_directory() -> str:
    """Return the absolute path of the temporary directory; raise OSError if there is none.

    Absolute, as tempfile may have been given a relative path, and the helper's
    working directory, or ours at exit, may be another.
    """
    try:
        return os.path.abspath(tempfile.gettempdir())
    except FileNotFoundError:
        with saying_what_to_do("a temporary directory"):
            _check_descriptors()  # or else tempfile takes no directory for usable
            raise


@contextlib.contextmanager
def saying_what_to_do(where: str) -> Iterator[None]:
    """Have an OSError say that no named pipes can be made, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            advice = "no descriptor is free: close some, or raise ulimit -n"
        else:
            advice = _ELSEWHERE
        raise OSError(
            error.errno, f"cannot make named pipes in {where}: {error.strerror}; {advice}"
        ) from error


def _check_descriptors() -> None:
    """Raise OSError unless a descriptor is free."""
    with fork.lock:
        os.close(os.open(os.sep, os.O_RDONLY | os.O_CLOEXEC))
