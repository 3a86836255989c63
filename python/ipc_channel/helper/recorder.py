"""Takes what a helper writes to one of its outputs."""

from __future__ import annotations

from ipc_channel.helper.lines import KEPT_LINES, LastLines, LineSplitter
from ipc_channel.helper.sinks import Sink


class Recorder:
    """Takes what is read from one pipe: keeps the last lines, and hands it to the sink."""

    def __init__(self, sink: Sink, last: LastLines) -> None:
        self._sink = sink
        self._last = last
        self._splitter = LineSplitter()
        self._unsent = b""

    def take(self, data: bytes) -> bool:
        """Take ``data``; return False if the sink has no room, and nothing is to follow."""
        for line in self._splitter.feed(data, KEPT_LINES):
            self._last.add(line)
        self._unsent = self._sink.write(self._unsent + data)
        return not self._unsent

    def begun(self) -> list[str]:
        """Return the last line, if it has no end yet."""
        return self._splitter.begun()

    def close(self) -> None:
        """Take note that nothing follows; what the sink has no room for is dropped."""
        for line in self._splitter.flush():
            self._last.add(line)
        self._sink.close()
