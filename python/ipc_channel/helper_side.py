"""What the two ``run_helper`` have in common: exit statuses, signals, and words."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from ipc_channel import fork
from ipc_channel.aio.session import Session
from ipc_channel.errors import (
    BadRendezvousError,
    CallTimeoutError,
    ConnectTimeoutError,
    EndReason,
    IPCChannelError,
    PeerError,
)
from ipc_channel.protocol.rendezvous import ENV_IN, ENV_OUT

USAGE: Final = 2
"""The exit status of a helper that was started by hand, without the variables."""
LOOK_FOR_END: Final = 1.0
"""Seconds to look for the end of a session in which a write has failed."""
FAILURES: Final = (EndReason.TRUNCATED, EndReason.RESET, EndReason.TOO_LARGE)
"""Ends after which a helper has failed, even if it caught the error."""

ENDING: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)
"""Signals that ask a program to end."""


TOGETHER: Final = 1.0
"""Seconds in which further signals belong to the first, which often comes twice."""


class NotTakenError(CallTimeoutError):
    """The service did not take the last output within ``linger``."""


_IN_ONE_LINE = PeerError, ConnectTimeoutError, BadRendezvousError, NotTakenError


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors of a channel into SystemExit with one line, and explain a start by hand."""
    for name in (ENV_IN, ENV_OUT):
        if not os.environ.get(name):
            explain(name)
    try:
        yield
    except _IN_ONE_LINE as error:
        sys.exit(f"{_program()}: {error.code}: {error}")


def explain(missing: str) -> NoReturn:
    """Tell somebody who has started a helper by hand what it is, and how to try it."""
    state = "missing" if missing not in os.environ else "empty"
    python = "python" if sys.platform == "win32" else "python3"
    print(  # noqa: T201  # for a person
        f"{_program()}: this program is a helper, started by a service: {ENV_IN} and"
        f" {ENV_OUT} tell it where the service is.\n"
        f"Environment variable {missing} is {state}.\n"
        "To try it, let Python start it, send it a message and print the answer:\n\n"
        f"    {python} -c {_shell_quoted(_trial(sys.orig_argv))}",
        file=sys.stderr,
    )
    sys.exit(USAGE)


def _program() -> str:
    """Return the name of the program for lines on stderr."""
    name = os.path.basename(sys.argv[0])  # may be no path at all
    return "python" if name in ("", "-c") else name


def _trial(command: list[str]) -> str:
    """Return a Python program that starts a helper and exchanges one message with it."""
    return (
        f"from ipc_channel.sync import Helper; helper = Helper({command!r}); channel ="
        " helper.start(); channel.write(b'hello'); print(channel.read()); helper.stop()"
    )


def _shell_quoted(text: str) -> str:
    """Quote one argument for a POSIX shell, or for Windows."""
    special = '"' if sys.platform == "win32" else '\\"$`'
    return '"' + "".join(f"\\{one}" if one in special else one for one in text) + '"'


@contextmanager
def first_signal(heed: Callable[[], object]) -> Iterator[None]:
    """Call ``heed`` at the first signal that asks the program to end.

    Another one ``TOGETHER`` seconds later has its default action. A signal that is
    ignored, as SIGHUP is under ``nohup``, stays ignored.
    """
    signals = _Signals(heed)
    fork.in_child(signals, _Signals.restore)  # the child is another program, in effect
    try:
        signals.take_over()
        yield
    finally:
        signals.restore()


class _Signals:
    """The handlers from before, and when the first signal came."""

    def __init__(self, heed: Callable[[], object]) -> None:
        self._heed = heed
        self._former: dict[int, Any] = {}
        self._since: float | None = None

    def take_over(self) -> None:
        for number in ENDING:
            former = signal.getsignal(number)
            if former not in (signal.SIG_IGN, None):  # None: not a handler in Python
                self._former[number] = former
                signal.signal(number, self._handle)

    def restore(self) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)

    def _handle(self, number: int, _frame: object) -> None:
        if self._since is None:
            self._since = time.monotonic()
            self._heed()
        elif time.monotonic() - self._since > TOGETHER:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def check_taken(session: Session | None) -> None:
    """Raise NotTakenError if output was lost when the session was closed."""
    if session is not None and session.lost:
        raise NotTakenError(
            f"the service did not take the last {session.lost} bytes: raise linger if it"
            " needs longer"
        )


def check_end(reason: EndReason | None, error: IPCChannelError | None) -> None:
    """Raise the error with which a session has ended, even if the helper has caught it."""
    if reason in FAILURES and error is not None:
        raise error.copy_to_raise()
