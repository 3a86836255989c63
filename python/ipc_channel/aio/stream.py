"""What a session needs of a transport: non-blocking bytes in and out.

A stream owns its descriptors and their registration with the event loop, so
that one place keeps the order that matters: unwatch first, close afterwards.
A descriptor closed while watched leaves a dead entry behind, and the next
descriptor of that number never becomes ready.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from threading import get_ident

from ipc_channel import fork
from ipc_channel.errors import WrongLoopError


class Stream(ABC):
    """A byte stream in each direction, watched by one event loop."""

    level_triggered = True
    """Whether the loop goes on to tell of an end or a reset that nobody has read yet."""
    initial_data = b""
    """Bytes that were read on the way to the connection."""
    was_reset = False
    """Whether the system has told of a reset on the way, which it does only once."""
    _on_readable: Callable[[], None]
    _watches_input = False
    _watches_output = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # To know whether the loop is the running one: cheaper than to ask for that, a
        # system call up to Python 3.11.
        self.thread = get_ident()
        self.process = fork.this_process()
        self.closed = False
        """Whether all was freed: then any loop will do."""
        self.on_end: Callable[[], None] = nothing
        """Called once by the session when its reading side has ended."""
        fork.in_child(self, lambda stream: stream.leave())

    @abstractmethod
    def in_fd(self) -> int:
        """Return the descriptor that is read from."""

    @abstractmethod
    def out_fd(self) -> int:
        """Return the descriptor that is written to."""

    @abstractmethod
    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" at the end; BlockingIOError if none is there."""

    @abstractmethod
    def read_into(self, room: memoryview) -> int:
        """Read into ``room`` and return the count; otherwise like :meth:`read`."""

    @abstractmethod
    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Write a part of ``buffers``, one after the other, and return its size."""

    @abstractmethod
    def finish_writing(self) -> bool:
        """Tell the peer that no more bytes come, after all were written.

        Return True if closing now could still lose bytes that the peer has
        not taken, so that the session has to drain first.
        """

    def unsent(self) -> int | None:
        """Return how many bytes the peer's system has not taken; None if unknown."""
        return None

    def delivered(self) -> bool:
        """Whether the peer's system has taken all, and a process there can read it."""
        return False

    @abstractmethod
    def ended(self) -> bool:
        """Whether the peer has gone or ended its direction, read to the end or not."""

    @abstractmethod
    def release(self) -> None:
        """Close the descriptors."""

    def leave(self) -> None:
        """Close the descriptors in a forked child, and touch nothing of the parent's."""
        self.thread = 0  # is no thread's: every use asks check_loop from now on
        self.closed = True
        self._watches_input = self._watches_output = False  # the parent's loop does
        self.release()

    def check_loop(self) -> None:
        """Raise WrongLoopError unless the running loop is ours, or none is needed.

        Raises WrongProcessError in a forked child.
        """
        self.process.check()
        if asyncio.get_running_loop() is self.loop:
            self.thread = get_ident()  # a loop may move
        elif not self.closed:
            closed = self.loop.is_closed()
            which, advice = (
                ("that was closed since", "call disconnect, and connect again in this loop")
                if closed
                else (
                    "other than the running one",
                    "use it in the loop that called connect",
                )
            )
            raise WrongLoopError(
                f"the channel was connected in an event loop {which}; {advice},"
                " or make a channel for each loop"
            )

    def start_reading(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever there is something to read, or an end."""
        self._on_readable = callback
        self._watches_input = True
        self.loop.add_reader(self.in_fd(), callback)

    def stop_reading(self) -> None:
        if self._watches_input:
            unwatch(self.loop, self.in_fd())
            self._watches_input = False  # afterwards: who is interrupted does it again

    def start_writing(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever there is room to write, or nobody to read it."""
        self._watches_output = True
        self.loop.add_writer(self.out_fd(), callback)

    def stop_writing(self) -> None:
        if self._watches_output:
            with contextlib.suppress(OSError, KeyError, ValueError):  # as in unwatch
                if not self.loop.is_closed():
                    self.loop.remove_writer(self.out_fd())
            self._watches_output = False

    def close(self) -> None:
        """Stop watching, then close the descriptors.

        What nobody watches may be closed already, by the garbage collector.
        """
        try:
            self.stop_reading()
            self.stop_writing()
        finally:
            self.release()
            self.closed = True


def nothing() -> None:
    """Do nothing: for callbacks that nobody has set."""


def unwatch(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Stop watching ``fd`` for input; a closed loop watches nothing.

    Nor does one do so in order whose selector a signal handler has cut short.
    """
    with contextlib.suppress(OSError, KeyError, ValueError):
        if not loop.is_closed():
            loop.remove_reader(fd)
