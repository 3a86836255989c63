"""What a session needs of a transport: non-blocking bytes in and out.

A stream owns its descriptors and their registration with the event loop, so that one
place keeps the required order: stop watching a descriptor, then close it. A descriptor
that is closed while watched leaves a dead entry behind, and the next descriptor of the
same number never becomes ready.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from threading import get_ident

from ipc_channel import fork
from ipc_channel.aio.readiness import unwatch_input, unwatch_output, watcher_of
from ipc_channel.errors import WrongLoopError


class Stream(ABC):
    """A byte stream in each direction, watched by one event loop."""

    level_triggered = True
    """Whether readiness for end of stream and reset is level-triggered."""
    initial_data = b""
    """Bytes that were read while the connection was being made."""
    was_reset = False
    """Whether the kernel reported a reset meanwhile, which it does only once."""
    _on_readable: Callable[[], None]
    _watches_input = False
    _watches_output = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # Tells whether the loop is the running one. Asking asyncio for the running loop
        # takes a system call up to Python 3.11.
        self.thread = get_ident()
        self.process = fork.this_process()
        self.closed = False
        """Whether everything was freed: then the stream may be used in any loop."""
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
        """Return up to ``size`` bytes, b"" at the end; raise BlockingIOError if none."""

    @abstractmethod
    def read_into(self, room: memoryview) -> int:
        """Read into ``room`` and return the byte count; otherwise like :meth:`read`."""

    @abstractmethod
    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Write as much of ``buffers`` as possible, in order; return the byte count."""

    @abstractmethod
    def finish_writing(self) -> bool:
        """Half-close: tell the peer that no more bytes follow.

        Return True if closing now could still lose bytes that the peer has
        not taken, so that the session has to drain first.
        """

    def unsent(self) -> int | None:
        """Return how many bytes the peer's kernel has not taken; None if unknown."""
        return None

    def delivered(self) -> bool:
        """Whether the peer's kernel has taken everything, and a process can read it."""
        return False

    @abstractmethod
    def ended(self) -> bool:
        """Whether the peer has gone or ended its direction, even with bytes unread."""

    @abstractmethod
    def release(self) -> None:
        """Close the descriptors."""

    def leave(self) -> None:
        """Close the descriptors in a forked child, and touch nothing of the parent's."""
        self.thread = 0  # matches no thread: from now on every use calls check_loop
        self.closed = True
        self._watches_input = self._watches_output = False  # only the parent's loop does
        self.release()

    def check_loop(self) -> None:
        """Raise WrongLoopError unless our loop is running, or the stream is closed.

        Raises WrongProcessError in a forked child.
        """
        self.process.check()
        if asyncio.get_running_loop() is self.loop:
            self.thread = get_ident()  # a loop may move to another thread
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

    def use_in_this_thread(self) -> None:
        """Allow the running thread to use the stream, for a loop that threads share."""
        self.process.check()
        self.thread = get_ident()

    def start_reading(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever there are bytes or an end to read."""
        self._on_readable = callback
        self._watches_input = True
        watcher_of(self.loop).add_reader(self.in_fd(), callback)

    def stop_reading(self) -> None:
        if self._watches_input:
            unwatch_input(self.loop, self.in_fd())
            self._watches_input = False  # last: after an exception, the next call retries

    def start_writing(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever there is room to write, or the peer has gone."""
        self._watches_output = True
        watcher_of(self.loop).add_writer(self.out_fd(), callback)

    def stop_writing(self) -> None:
        if self._watches_output:
            unwatch_output(self.loop, self.out_fd())
            self._watches_output = False

    def close(self) -> None:
        """Stop watching, then close the descriptors.

        A descriptor that is not watched may be closed already, by the garbage collector.
        """
        try:
            self.stop_reading()
            self.stop_writing()
        finally:
            self.release()
            self.closed = True


def nothing() -> None:
    """Do nothing: the default of callbacks."""
