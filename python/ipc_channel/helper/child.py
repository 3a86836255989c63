"""What a child process is to the rest, on every system; and the end of one that was dropped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from ipc_channel.fork import Process, lock


class Watch(Protocol):
    """Waits in a loop for the end of a process."""

    def close(self) -> None:
        """Stop waiting, and free what the waiting took; call it once."""


class Child(Protocol):
    """A process that was started here, and its process group if it leads one."""

    maker: Process
    """The process that started it; a forked child of that process must not end it."""

    @property
    def pid(self) -> int:
        """Its number, which another process may get once this one is released."""

    @property
    def released(self) -> bool:
        """Whether the system may forget it: it was reaped, its descriptor or handle closed."""

    @property
    def ending(self) -> str:
        """How it ended, in words: "was killed by SIGKILL"."""

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""

    def watch(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], object]) -> Watch:
        """Have ``loop`` call ``on_end`` once it has ended."""

    def group_lives(self) -> bool:
        """Whether other processes of its group are running."""

    def signal(self, number: int) -> None:
        """Send it a signal, if it is running."""

    def terminate_all(self) -> None:
        """Ask it and its group to end, as far as they are running."""

    def kill_all(self) -> None:
        """End it and its group, as far as they are running, for certain."""

    def release(self) -> None:
        """If it has ended, reap it, and close its descriptor or handle."""


_abandoned: list[Child] = []


def abandon(child: Child) -> bool:
    """Kill a child, with its group, that was dropped; return whether it was needed."""
    if child.released or not child.maker.runs:
        return False
    child.poll()
    if child.released:
        return False
    with contextlib.suppress(OSError):
        child.kill_all()
    _abandoned.append(child)
    reap_abandoned()
    return True


def reap_abandoned() -> None:
    """Release the children that were dropped and have ended since."""
    with lock:  # threads may start helpers at the same time
        for child in tuple(_abandoned):
            if child.poll() is not None:
                child.release()
                with contextlib.suppress(ValueError):  # removed by a garbage collection
                    _abandoned.remove(child)
