"""The standard output and standard error of a helper, as far as they are not inherited."""

from __future__ import annotations

import itertools
import sys
from typing import Any

from ipc_channel.fork import this_process
from ipc_channel.helper.lines import LastLines
from ipc_channel.helper.recorder import Recorder
from ipc_channel.helper.sinks import Sink, check_output, open_sink

if sys.platform == "win32":
    from ipc_channel.helper.windows_output import OutputPipe
else:
    from ipc_channel.helper.posix_output import OutputPipe

STDOUT, STDERR = 1, 2
INHERIT = "inherit"


class Outputs:
    """What is to become of a helper's outputs, as its user has said."""

    def __init__(self, name: str, *, stdout: Any, stderr: Any, in_thread: bool) -> None:
        check_output("stdout", stdout)
        check_output("stderr", stderr)
        self._name = name
        self._options = {STDOUT: stdout, STDERR: stderr}
        self._in_thread = in_thread

    @property
    def captures_errors(self) -> bool:
        """Whether standard error is read, and not inherited."""
        return bool(self._options[STDERR] != INHERIT)

    def open(self) -> HelperOutput:
        """Make the pipes for one process; raise OSError if that is impossible."""
        output = HelperOutput()
        try:
            for stream, option in self._options.items():
                if option != INHERIT:
                    sink = open_sink(
                        option, stream=stream, name=self._name, pid=lambda: output.pid
                    )
                    output.add(stream, sink, in_thread=self._in_thread)
        except BaseException:
            output.close()
            raise
        return output


class HelperOutput:
    """The outputs of one process, from before its start until it has ended."""

    def __init__(self) -> None:
        self.pid = 0
        self._maker = this_process()
        self._last = LastLines()
        self._pipes: dict[int, OutputPipe] = {}
        self._recorders: list[Recorder] = []

    def add(self, stream: int, sink: Sink, *, in_thread: bool) -> None:
        """Make a pipe in the place of ``stream``, 1 or 2, to be read for ``sink``."""
        recorder = Recorder(sink, self._last)
        try:
            self._pipes[stream] = OutputPipe(recorder, in_thread=in_thread)
        except BaseException:  # no descriptor is free
            recorder.close()
            raise
        self._recorders.append(recorder)

    @property
    def ends(self) -> dict[int, int]:
        """What the process is to have in the place of its streams: descriptors or handles."""
        return {stream: pipe.child_end for stream, pipe in self._pipes.items()}

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines of all streams, in the order in which they were read."""
        begun = (recorder.begun() for recorder in self._recorders)
        return self._last.get(itertools.chain.from_iterable(begun))

    def begin(self, pid: int) -> None:
        """Begin to read, once the process has been started; call it in the event loop."""
        self.pid = pid
        for pipe in self._pipes.values():
            pipe.begin()

    def go_on(self) -> None:
        """Read in the running event loop from now on if the one before has been closed."""
        for pipe in self._pipes.values():
            pipe.go_on()

    def read_rest(self) -> None:
        """Read what the process has written until now; call it once the process has ended."""
        if self._maker.runs:
            for pipe in self._pipes.values():
                pipe.read_rest()

    def close(self) -> None:
        """Read what the process has written, and free everything.

        Does nothing in a forked child.
        """
        if self._maker.runs:
            for pipe in self._pipes.values():
                pipe.close()
