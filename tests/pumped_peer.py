"""A raw end of a channel for random sequences of steps: it never waits for ours."""

from __future__ import annotations

import contextlib
import queue
import threading

from raw import PATIENCE, Raw


class Peer:
    """The raw end, pumped by two threads."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.got: list[bytes] = []
        self.clean = False
        self.to_send: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.threads = [threading.Thread(target=f) for f in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while (data := self.to_send.get()) is not None:
                self.raw.send(data)
            self.raw.end_writing()

    def _receive(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while payload := self.raw.recv_frame():
                self.got.append(payload)
            self.clean = payload is not None

    def finish(self) -> None:
        self.to_send.put(None)
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self.raw.close()


def check_written(peer: Peer, written: list[tuple[bytes, bool]]) -> None:
    """Check what the peer got: the messages of ``written``, of which some must be there."""
    left = iter(peer.got)
    expected = next(left, None)
    for message, certain in written:
        if expected == message:
            expected = next(left, None)
        else:
            assert not certain, "a message that was written is lost, or out of order"
    assert expected is None, "a message came twice, or torn"
