"""Writing to a pipe without SIGPIPE, which kills a program that keeps its default action.

CPython ignores SIGPIPE from the start, but command-line tools often restore the
default. Only Linux 6.18 and later can suppress the signal for a single write to a
pipe. Elsewhere it is blocked during the write and consumed if it would kill us.
"""

from __future__ import annotations

import os
import signal
from _signal import SIG_DFL, getsignal  # type: ignore[import-not-found]  # without enums, which take a microsecond
from collections.abc import Callable, Sequence
from functools import cache

HERE = -1  # in place of an offset, which pipes do not have
NO_SIGNAL = 0x100  # RWF_NOSIGNAL

Write = Callable[[int, Sequence[bytes | bytearray | memoryview], int, int], int]


@cache
def best_write() -> Write:
    """Return a function that writes buffers, in part at least, and never raises SIGPIPE.

    It is called as ``write(fd, buffers, HERE, NO_SIGNAL)`` and returns the bytes written.
    """
    if not hasattr(signal, "SIGPIPE"):
        return write_plainly
    return os.pwritev if _kernel_knows_the_flag() else write_held_back


def _kernel_knows_the_flag() -> bool:
    reader, writer = os.pipe()
    try:
        return os.pwritev(writer, [b"x"], HERE, NO_SIGNAL) == 1
    except (OSError, AttributeError, TypeError, NotImplementedError):
        return False  # an older kernel, or another system
    finally:
        os.close(reader)
        os.close(writer)


def write_plainly(
    fd: int, buffers: Sequence[bytes | bytearray | memoryview], offset: int, flags: int
) -> int:
    """Write where SIGPIPE does not exist, or does not have its default action."""
    del offset, flags
    return os.writev(fd, buffers)


def write_held_back(
    fd: int, buffers: Sequence[bytes | bytearray | memoryview], offset: int, flags: int
) -> int:
    """Write with SIGPIPE blocked if it has its default action; consume it if raised."""
    if getsignal(signal.SIGPIPE) != SIG_DFL:
        return write_plainly(fd, buffers, offset, flags)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    waits_already = signal.SIGPIPE in signal.sigpending()
    try:
        return os.writev(fd, buffers)
    except BrokenPipeError:
        if not waits_already:
            signal.sigwait({signal.SIGPIPE})
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
