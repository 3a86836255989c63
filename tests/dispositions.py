"""The signals of an ordinary process, whatever started the tests.

``nohup`` ignores SIGHUP, a shell without a terminal ignores SIGINT and SIGQUIT for its
background jobs, and children inherit that, blocked signals too. A test that ends a
process by a signal starts it with :func:`restore`. The tests' own process keeps what is
ignored, which protects it, except for SIGCHLD: without it there is no exit status.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

_DEFAULTS = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGCHLD")


def restore() -> None:
    """Set signals to their defaults: to be called in a child, before it becomes a program."""
    for name in _DEFAULTS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    unblock()


def unblock() -> None:
    """Let every signal through, and have the exit status of children."""
    if sys.platform == "win32":
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def with_ctrl_c() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt, as Python does unless it is ignored from the start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def without_sigpipe() -> Iterator[None]:
    """Ignore SIGPIPE, as Python does from the start: asyncio's own streams count on that."""
    if sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)
