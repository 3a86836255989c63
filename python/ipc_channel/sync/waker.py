"""Ends the poll of another thread."""

from __future__ import annotations

import contextlib

from ipc_channel import fork


class Waker:
    """A pair of sockets, one of which is polled: a byte on the other ends the poll."""

    def __init__(self) -> None:
        self._receiver, self._sender = fork.hold_pair()

    def fileno(self) -> int:
        """Return the descriptor to poll for input."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """End the poll, or the next one; from any thread."""
        with contextlib.suppress(OSError):  # the buffer is full: the poll ends anyway
            self._sender.send(b"\0")

    def drain(self) -> None:
        """Take what :meth:`wake` has sent."""
        with contextlib.suppress(OSError):
            self._receiver.recv(4096)

    def close(self) -> None:
        fork.close(self._receiver)
        fork.close(self._sender)
