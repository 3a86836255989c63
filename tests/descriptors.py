"""The descriptors of this process: which there are, and the limit of their number."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest

if sys.platform == "win32":
    from windows_handles import open_sockets
else:
    import resource

    from ipc_channel.helper import guard


def open_descriptors() -> set[str]:
    """Return what every descriptor of this process is, by number; on Windows its sockets."""
    if sys.platform == "win32":
        return open_sockets()
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if int(number) != guard.descriptor():  # open for as long as this process
                found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    # Not the one used for looking, nor the one that libuv keeps in reserve.
    return {
        text.removesuffix(" (deleted)")
        for text in found
        if "/proc/" not in text and not text.endswith("/dev/null")
    }


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Raise the limit of descriptors as far as a test with hundreds of channels needs it."""
    if sys.platform == "win32":  # it has no such limit
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(16_384, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def no_descriptor_left(but: int = 0) -> Iterator[None]:
    """Take all descriptors of this process, ``but`` so many."""
    if sys.platform == "win32":
        pytest.skip("NOT TESTED: the number of sockets has no limit on Windows")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Of all that are open, even if it is not of this test: one of a guard, for instance.
    least = max(map(int, os.listdir("/proc/self/fd"))) + 1 + but
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for fd in taken[:but]:
            os.close(fd)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken[but:]:
            os.close(fd)
