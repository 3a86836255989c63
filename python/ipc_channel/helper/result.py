"""What came of a helper: how it ended, after how long, and what it wrote last."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

KILLED = 0xE04B494C
"""Exit status, on Windows, of the processes of a helper that had to be killed.

Bit 29 sets it apart from the codes of Windows, and its last bytes are "KIL".
"""
# The first digit of an NTSTATUS with the severity "error": of Windows, or of a program, such
# as that of an exception of C++. 0xF is none: with -1, for instance, a program ends itself.
_ERRORS = (0xC, 0xE)


@dataclass(frozen=True)
class HelperResult:
    """How the process of a helper ended. ``str()`` says it in words.

    Attributes:
        command: the program and its arguments.
        pid: its number, which may belong to another process by now.
        status: its exit status, negative for a signal; on Windows as Windows has it. 255 if
            another part of the service has reaped it: then its status is unknown.
        duration: seconds from its start until this process noticed its end.
        ending: the end in words: "ended with status 3", "was killed by SIGSEGV".
        requested: whether this process had sent it the signal that ended it, or SIGTERM,
            SIGINT or SIGKILL.
        last_lines: the last lines, at most 100, of those outputs that are not inherited.
    """

    command: tuple[str, ...]
    pid: int
    status: int
    duration: float
    ending: str
    requested: bool = False
    last_lines: tuple[str, ...] = field(default=(), repr=False)

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it, such as "SIGKILL"; None if none did."""
        return signal_name(-self.status) if self.status < 0 else None

    @property
    def failed(self) -> bool:
        """Whether it ended by itself, and not with status 0."""
        return self.status != 0 and not self.requested

    @property
    def crashed(self) -> bool:
        """Whether a signal that this process had not sent ended it.

        On Windows, whether an exception did, such as an access violation.
        """
        by_exception = self.status >> 28 in _ERRORS and self.status != KILLED
        return (self.status < 0 or by_exception) and not self.requested

    def __str__(self) -> str:
        return f"{self.ending} after {self.duration:.1f} s{quoted(self.last_lines)}"


def signal_name(number: int) -> str:
    """Return the name of a signal: "SIGKILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def quoted(lines: tuple[str, ...], most: int = 40) -> str:
    """Return the last lines of a helper as the end of an error's text; "" without lines."""
    if not lines:
        return ""
    text = "".join(f"\n    {line}" for line in lines[-most:])
    return f"; its last lines:{text}"
