"""Have the signals that end a service end it as Ctrl-C does, with its helpers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

_NAMES = ("SIGTERM", "SIGHUP", "SIGBREAK")
_TOGETHER = 1.0
"""Seconds in which further signals belong to the first one.

systemd can send SIGHUP right after SIGTERM, a terminal that closes often sends SIGHUP twice,
and a wrapper passes on what its child has got already.
"""


@contextlib.contextmanager
def exit_on_signals(*, status: int | None = None) -> Iterator[None]:
    """Make SIGTERM and SIGHUP end a service in order, as Ctrl-C does.

    Without it these signals kill a Python program on the spot: no ``with`` block is left, so
    helpers are not stopped and directories stay behind. Put the whole program into the
    block::

        with exit_on_signals():
            asyncio.run(main())

    In the block, each of these signals does what Ctrl-C does. Under ``asyncio.run``, or
    ``uvloop.run``, it cancels the main task; in blocking code it raises
    ``KeyboardInterrupt``. So ``with`` and ``async with`` blocks are left, and a ``Helper``
    stops its process within its ``grace``. Another signal more than a second later is like a
    second Ctrl-C: helpers that have not ended are killed at once. What arrives within that
    second belongs to the first signal.

    At the end of the block the ``KeyboardInterrupt`` of such a signal becomes ``SystemExit``
    with 128 + the number of the signal, as of a program that a shell ran, and without a
    traceback. A program that catches the interrupt, or the cancellation, and returns, goes on
    after the block. The handlers from before are restored.

    A signal that was ignored when the block began, as ``nohup`` ignores SIGHUP, stays
    ignored, and so does Ctrl-C. On Windows SIGBREAK takes the place of SIGHUP: it stands for
    CTRL_BREAK, which :class:`ipc_channel.Helper` sends there. A ``SelectorEventLoop`` on
    Windows notices a signal only at its next event, Ctrl-C too; the default loop does at once.

    Arguments:
        status: the exit status, from 0 to 255, instead of 128 + the number.

    Raises RuntimeError outside of the main thread, which alone gets signals, and in a
    running event loop, whose ``asyncio.run`` belongs into the block.
    """
    _check(status)
    signals = _Signals()
    try:
        signals.take_over()
        yield
    except KeyboardInterrupt:
        signals.leave()
        if signals.first is None:
            raise
        raise SystemExit(128 + signals.first if status is None else status) from None
    finally:
        signals.leave()
        signals.restore()


def _check(status: Any) -> None:
    if status is not None and (isinstance(status, bool) or not isinstance(status, int)):
        raise TypeError(f"status is an int or None, not {type(status).__name__}")
    if status is not None and not 0 <= status <= 255:
        raise ValueError(f"status is {status}, not within 0 and 255")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "exit_on_signals is for the main thread, which alone gets signals: put it"
            " around what the main thread runs"
        )
    if _is_in_a_loop():
        raise RuntimeError(
            "exit_on_signals is not for a coroutine: put asyncio.run(main()) into its block"
        )


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Signals:
    """The handlers from before, and what has arrived since."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The number of the first signal, if one has come."""
        self._since = 0.0
        self._former: dict[int, Any] = {}
        self._left = False
        self._late: list[int] = []

    def take_over(self) -> None:
        """Handle all signals that are neither ignored nor handled by code that is not Python."""
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is None:
                continue
            former = signal.getsignal(number)
            if former not in (signal.SIG_IGN, None):
                self._former[number] = former
                signal.signal(number, self._on_signal)

    def leave(self) -> None:
        """Raise nothing any more."""
        self._left = True

    def restore(self) -> None:
        """Set the handlers from before; let them have a signal that came too late for ours."""
        for number, former in self._former.items():
            signal.signal(number, former)
        if self.first is None:
            for number in self._late:
                signal.raise_signal(number)

    def _on_signal(self, number: int, _: object) -> None:
        if self._left:
            self._late.append(number)
            return
        now = time.monotonic()
        if self.first is None:
            self.first, self._since = number, now
        elif now - self._since < _TOGETHER:
            return
        _interrupt()


def _interrupt() -> None:
    """Do what Ctrl-C does, even where it is ignored or not handled."""
    handler = signal.getsignal(signal.SIGINT)
    if handler in (signal.SIG_DFL, signal.SIG_IGN) or _is_blocked(signal.SIGINT):
        raise KeyboardInterrupt
    # Whatever handles it: Python, asyncio's Runner, add_signal_handler.
    signal.raise_signal(signal.SIGINT)


def _is_blocked(number: int) -> bool:
    if sys.platform == "win32":
        return False
    return number in signal.pthread_sigmask(signal.SIG_BLOCK, ())
