"""Which descriptors are ready: epoll itself where there is one, and otherwise a selector.

The selectors of the standard library wrap epoll too, but for a small message that wrapper
costs more than the wait.
"""

from __future__ import annotations

import select
import selectors
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from ipc_channel import fork
from ipc_channel.sync.slices import slice_of

READ = 1
"""There is input. What a poller reports may have more bits: errors and hang-ups."""
WRITE = 4
"""There is room."""


class Poller(Protocol):
    """Watches descriptors. Other threads may change what is watched during a ``poll``."""

    is_live: bool
    """Whether a running :meth:`poll` notices such a change."""

    @property
    def poll(self) -> Callable[[float | None], Sequence[tuple[int, int]]]:
        """Waits so many seconds until a descriptor is ready; returns which, and for what.

        On Windows it may wait for less.
        """

    def watch(self, fd: int, events: int) -> None:
        """Watch ``fd`` for ``events`` from now on; for 0, stop watching it."""

    def close(self) -> None:
        """Free what the poller holds; in a forked child, too."""


if sys.platform == "linux":

    class EpollPoller:
        """Watches by epoll."""

        is_live = True

        def __init__(self) -> None:
            self._watched: set[int] = set()
            with fork.lock:
                self._epoll = select.epoll()
                self.poll: Callable[[float | None], Sequence[tuple[int, int]]] = (
                    self._epoll.poll
                )
                fork.in_child(self, EpollPoller.close)

        def watch(self, fd: int, events: int) -> None:
            if not events:
                self._watched.discard(fd)
                self._epoll.unregister(fd)
            elif fd in self._watched:
                self._epoll.modify(fd, events)
            else:
                self._epoll.register(fd, events)
                self._watched.add(fd)

        def close(self) -> None:
            with fork.lock:
                self._epoll.close()


class SelectorPoller:
    """Watches by the best selector of the platform."""

    is_live = hasattr(selectors, "KqueueSelector")

    def __init__(self) -> None:
        with fork.lock:
            self._selector = selectors.DefaultSelector()
            fork.in_child(self, SelectorPoller._leave)

    def poll(self, timeout: float | None) -> Sequence[tuple[int, int]]:
        found = self._selector.select(slice_of(timeout))
        return [(key.fd, _from_selector(events)) for key, events in found]

    def watch(self, fd: int, events: int) -> None:
        wanted = _to_selector(events)
        if not wanted:
            self._selector.unregister(fd)
        elif fd in self._selector.get_map():
            self._selector.modify(fd, wanted)
        else:
            self._selector.register(fd, wanted)

    def close(self) -> None:
        with fork.lock:
            self._selector.close()

    def _leave(self) -> None:
        """A kqueue is not inherited: its number may stand for another file in the child."""
        if not hasattr(selectors, "KqueueSelector"):
            self.close()


def _to_selector(events: int) -> int:
    return (selectors.EVENT_READ if events & READ else 0) | (
        selectors.EVENT_WRITE if events & WRITE else 0
    )


def _from_selector(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (
        WRITE if events & selectors.EVENT_WRITE else 0
    )


def make_poller() -> Poller:
    """Return the poller of this platform."""
    if sys.platform == "linux":
        return EpollPoller()
    return SelectorPoller()
