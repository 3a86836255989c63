"""Standard output that may break: somebody else looks at it, or stops looking."""

from __future__ import annotations

import os
import sys


class Output:
    """A file that takes text for standard output, and drops it once that has failed.

    ``| head`` closes it, and a full disk takes no more; a run and its reports go on.
    """

    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding

    def __init__(self) -> None:
        self._error: OSError | None = None
        self._file = sys.stdout
        if self._file is None:  # Python has found it closed
            self._error = BrokenPipeError()

    def write(self, text: str) -> int:
        """Write ``text``, if that is still possible."""
        if self._error is None:
            try:
                self._file.write(text)
            except OSError as error:
                self._error = error
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._error is None:
            try:
                self._file.flush()
            except OSError as error:
                self._error = error

    def isatty(self) -> bool:
        return self._error is None and self._file.isatty()

    def finish(self) -> int:
        """Write out the rest; return the exit status that comes of it.

        A reader that has left has seen what it wanted; all else is told.
        """
        self.flush()
        if self._error is None:
            return 0
        if self._file is not None:
            # Or else Python would fail in writing the rest of it at exit.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._file.fileno())
            os.close(null)
        if isinstance(self._error, BrokenPipeError):
            return 0
        print(f"ipc-channel: standard output: {self._error.strerror}", file=sys.stderr)
        return 2
