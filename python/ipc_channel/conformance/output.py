"""Standard output that may fail: its reader may close it, or its disk may be full."""

from __future__ import annotations

import os
import sys


class Output:
    """A file that writes to standard output, and drops text once that has failed.

    ``| head`` closes it, and a disk may be full; the run and its reports continue.
    """

    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding

    def __init__(self) -> None:
        self._error: OSError | None = None
        self._file = sys.stdout
        if self._file is None:  # Python has found it closed
            self._error = BrokenPipeError()

    def write(self, text: str) -> int:
        """Write ``text``, unless standard output has failed."""
        if self._error is None:
            try:
                self._file.write(text)
            except OSError as error:
                self._error = error
        return len(text)

    def flush(self) -> None:
        """Flush buffered text."""
        if self._error is None:
            try:
                self._file.flush()
            except OSError as error:
                self._error = error

    def isatty(self) -> bool:
        return self._error is None and self._file.isatty()

    def finish(self) -> int:
        """Flush the rest; return the exit status that follows from it.

        A reader that has closed its end wanted no more; any other error is reported.
        """
        self.flush()
        if self._error is None:
            return 0
        if self._file is not None:
            # Or else Python would fail at exit, when it flushes the rest.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._file.fileno())
            os.close(null)
        if isinstance(self._error, BrokenPipeError):
            return 0
        print(f"ipc-channel: standard output: {self._error.strerror}", file=sys.stderr)
        return 2
