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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: OSError | None = None
        self._made = threading.Event()  # the loop, or the error
        self._stopped = False
        self._lock = threading.RLock()
        self.maker = fork.this_process()
        self.users = 0
        self._thread = threading.Thread(
            target=self._run, name="ipc-channel-output", daemon=True
        )
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start it, unless another user has done so; call it without ``fork.lock``.

        This waits until the new thread runs, and in there a garbage collection may free a
        channel, which takes that lock. Raises OSError if it can have no event loop.
        """
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()
        self._made.wait()
        if self._error is not None:
            raise self._error

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop, once it has been started."""
        assert self._loop is not None
        return self._loop

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def wait_until_free(self, seconds: float) -> None:
        """Wait until it has closed its loop, if there is no use for it any more."""
        if self.users == 0 and self._thread.ident and not self.is_current:
            self._thread.join(seconds)

    def stop(self) -> None:
        """Have it close its loop."""
        with self._lock:
            self._stopped = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        # Here, since signals wake up the proactor loop that the main thread has made last.
        try:
            loop = _new_loop()
        except OSError as error:
            self._error = error
        else:
            with self._lock:
                self._loop = loop
                if self._stopped:  # a signal handler has raised in ``start``
                    loop.call_soon(loop.stop)
        self._made.set()
        if self._loop is not None:
            self._run_loop(self._loop)

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()  # the other one cannot read pipes
    return asyncio.SelectorEventLoop()


def acquire() -> OutputThread:
    """Return the thread, started if need be, which the caller has to release."""
    with fork.lock:
        if not _running or not _running[-1].maker.runs:  # a fork copies no thread
            _running.append(OutputThread())
        thread = _running[-1]
        thread.users += 1
    try:
        thread.start()
    except BaseException:  # no thread can be started, or a signal handler raised
        release(thread)
        raise
    return thread


def release(thread: OutputThread) -> None:
    """End the thread if this was the last use of it."""
    with fork.lock:
        thread.users -= 1
        if thread.users == 0:
            _running.remove(thread)
            thread.stop()
