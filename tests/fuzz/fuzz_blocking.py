"""Coverage-guided fuzzing of blocking calls with a hostile peer: ``nox -s fuzz``.

The steps of an input are those of ``fuzz_session``; our calls look once, and time out.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ipc_channel"]):
    from ipc_channel.aio.session import Session
    from ipc_channel.errors import IPCChannelError, UnfinishedWriteError
    from ipc_channel.sync.driver import Driver
    from ipc_channel.sync.reading import read, read_queued
    from ipc_channel.sync.writing import write, write_at_once

from fuzz_decoder import expected
from fuzz_session import LIMIT, LOGGER, Peer


class Channel:
    """Our end: a session in a loop that calls drive."""

    def __init__(self, *, tcp: bool) -> None:
        self.driver = Driver()
        self.peer = Peer(tcp, self.driver.loop)
        self.driver.call(self._begin)
        self.got: list[bytes] = []

    def _begin(self) -> None:
        self.session = Session(
            self.peer.stream, max_message_size=LIMIT, linger=0, logger=LOGGER, name=""
        )

    def read(self) -> bool:
        """Read a message if one has come; return whether one may still come."""
        try:
            message = None
            if self.session.inbox.messages:
                message = read_queued(self.driver, self.session)
            message = message or read(self.driver, self.session, 0)
        except TimeoutError:
            return True
        except IPCChannelError:
            return False
        if message is not None:
            self.got.append(message)
        return message is not None

    def write(self, data: bytes) -> None:
        try:
            if not write_at_once(self.driver, self.session, data, 0):
                write(self.driver, self.session, data, 0)
        except (IPCChannelError, UnfinishedWriteError):
            pass

    def close(self) -> None:
        self.driver.run(self.session.close())
        assert self.session.closed
        self.driver.release(self.driver.acquire())


def play(steps: atheris.FuzzedDataProvider, ours: Channel) -> None:
    peer = ours.peer
    for _ in range(30):
        step = steps.ConsumeIntInRange(0, 6)
        if step == 0:
            peer.write(steps.ConsumeBytes(steps.ConsumeIntInRange(0, 20)))
        elif step == 1:
            size = steps.ConsumeIntInRange(0, LIMIT)
            peer.write(size.to_bytes(4, "big") + bytes(size))
        elif step == 2:
            peer.read()
        elif step in (3, 4):
            ours.read()
        elif step == 5:
            ours.write(bytes(steps.ConsumeIntInRange(0, LIMIT + 1)))
        elif steps.ConsumeBool():
            peer.close(reset=steps.ConsumeBool())
    peer.close()
    while ours.read():
        pass
    messages, _ = expected(peer.sent, LIMIT)
    assert ours.got == messages[: len(ours.got)]
    # A reset may take away what had not been read; an end of stream may not.
    assert len(ours.got) == len(messages) or ours.session.end_reason == "reset"
    ours.close()


def check(data: bytes) -> None:
    steps = atheris.FuzzedDataProvider(data)
    play(steps, Channel(tcp=steps.ConsumeBool()))


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
