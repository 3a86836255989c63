"""Processes that several threads start and wait for, and that a signal ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from types import FrameType
from typing import TypeVar

GRACE = 10  # seconds in which a process that was told to end may clean up
_T = TypeVar("_T")


class EndedError(Exception):
    """No more processes are started: all are being ended."""


class Jobs:
    """Runs commands, each in a session of its own, until :meth:`end`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(
        self, command: Sequence[str], timeout: float, env: dict[str, str] | None = None
    ) -> int | None:
        """Return the status of a command; None if it had to be ended after ``timeout``."""
        process = self._start(command, env)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            stop(process, told=self._ended)
            with self._lock:
                self._running.discard(process)
                if self._ended:
                    raise EndedError

    def _start(
        self, command: Sequence[str], env: dict[str, str] | None
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise EndedError
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def end(self) -> None:
        """End every process, and start no more."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            stop(process, told=True)


def stop(process: subprocess.Popen[bytes], *, told: bool = False) -> None:
    """Let a process clean up, as the suite ends its testees, and then kill its group."""
    if not told:  # once: it may be in the middle of cleaning up
        process.terminate()  # which does nothing once it has been waited for
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def outcome(future: Future[_T]) -> _T:
    """Wait for the result of another thread.

    Not without a limit: if the kernel gives a signal to that thread, its handler runs
    only once this one does something.
    """
    while not future.done():
        wait([future], timeout=0.2)
    return future.result()


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """Leave by ``SystemExit`` at the first SIGINT, SIGTERM or SIGHUP; ignore the next."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number: int, _: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    before = {
        number: signal.signal(number, leave)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
