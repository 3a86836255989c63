"""Threads that wait for something to be read: a call, or a worker of ``serve``."""

from __future__ import annotations

import threading

from ipc_channel.errors import IPCChannelError


class Turn:
    """A thread that waits for something to be read, and reads if no other one does."""

    done = False

    def __init__(self) -> None:
        self.sleeps = False
        self.alarm = threading.Lock()
        self.alarm.acquire()  # a released one wakes the thread

    def wake(self) -> None:
        """Wake the thread, with the lock of the channel."""
        if self.sleeps:
            self.sleeps = False
            self.alarm.release()


class Call(Turn):
    """A request of this end, until it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = b""
        self.error: IPCChannelError | None = None
        self.unsent = True

    def on_not_sent(self) -> None:
        self.unsent = True

    def give(self, answer: bytes = b"", error: IPCChannelError | None = None) -> None:
        self.answer, self.error, self.done = answer, error, True
        self.wake()
