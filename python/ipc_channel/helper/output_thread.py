"""A thread with an event loop that reads the outputs of helpers.

There is at most one for all helpers of a process, and none unless it is needed.
"""

from __future__ import annotations

import asyncio
import sys
import threading

from ipc_channel import fork

_running: list[OutputThread] = []


class OutputThread:
    """Runs an event loop for as long as there is something to read."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self.maker = fork.this_process()
        self.users = 0
        self._thread = threading.Thread(
            target=self._run, name="ipc-channel-output", daemon=True
        )
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def wait_until_free(self, seconds: float) -> None:
        """Wait until it has closed its loop, if there is no use for it any more."""
        if self.users == 0 and not self.is_current:
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()  # the other one cannot read pipes
    return asyncio.SelectorEventLoop()


def acquire() -> OutputThread:
    """Return the thread, started if need be, which the caller has to release."""
    with fork.lock:
        if not _running or not _running[-1].maker.runs:  # a fork copies no thread
            _running.append(OutputThread())
        _running[-1].users += 1
        return _running[-1]


def release(thread: OutputThread) -> None:
    """End the thread if this was the last use of it."""
    with fork.lock:
        thread.users -= 1
        if thread.users == 0:
            _running.remove(thread)
            thread.loop.call_soon_threadsafe(thread.loop.stop)
