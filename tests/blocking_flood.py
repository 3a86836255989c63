"""The flood of ``flood.py`` through a blocking channel, in one thread.

The peer acts whenever the channel polls, so every run is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import flood
from flood import PATIENCE, Wire
from flood_checks import check_error, check_read, check_written
from ipc_channel import IPCChannelError, SessionInterruptedError
from ipc_channel.aio.session import Session
from ipc_channel.sync import IPCChannelClient, make_ipc_channel_client
from ipc_channel.sync.channel import parts_of
from ipc_channel.sync.driver import NOBODY, Driver
from raw import frame

_PATHS = {"tcp": ("1", "1"), "unix": ("unix:/socket",) * 2, "named_pipe": ("/in", "/out")}
# One of them fits into no kernel's buffer.
MESSAGES = [*flood.MESSAGES[:5], flood.message(5, 2**20), *flood.MESSAGES[6:]]


class BlockingFlood:
    """Writes or reads messages; ``go_on`` does the rest after an interrupt."""

    def __init__(self, wire: Wire, kind: str, *, acts: bool = True) -> None:
        self.wire = wire
        self.kind = kind
        self.acts = acts
        self.messages = MESSAGES
        paths = _PATHS[wire.transport]
        self.channel: IPCChannelClient = make_ipc_channel_client(*paths)
        self.driver = parts_of(self.channel)[0]
        if acts:
            let_act(self.driver, wire)
        connect(self.channel, wire)
        self.written: list[bool] = []  # whether the write of each message has returned
        self.read: list[bytes] = []
        if kind == "read":
            wire.to_send += b"".join(map(frame, MESSAGES)) + bytes(4)

    def forget(self) -> None:
        """Free the memory of all messages."""
        for data in (self.wire.got, self.wire.to_send, self.read, self.written):
            data.clear()
        self.messages = []

    def work(self) -> None:
        if self.kind == "read":
            self.read_all()
        elif self.kind == "write":
            self.write_all()
        elif self.kind == "write_many":
            self.channel.write_many(self.counted())
        else:
            self.channel.close()

    def work_on(self) -> None:
        """Go on after an interrupt, or an end of the session that it has led to."""
        try:
            self.work()
        except SessionInterruptedError:
            check_error(self.channel)

    def counted(self) -> Iterator[bytes]:
        """Yield the messages that were not yielded yet, and keep in mind that they were."""
        for one in self.messages[len(self.written) :]:
            self.written.append(False)
            yield one

    def write_all(self) -> None:
        for one in self.messages[len(self.written) :]:
            self.written.append(False)
            self.channel.write(one)
            self.written[-1] = True

    def read_all(self) -> None:
        while (one := self.channel.read()) is not None:
            self.read.append(one)

    def go_on(self) -> None:
        """Write or read on as the user of a channel would, and close."""
        try:
            if self.kind in ("write", "write_many"):
                self.write_all()
            elif self.kind == "read":
                self.read_all()
        except IPCChannelError:
            check_error(self.channel)
        self.channel.close()
        if self.acts and not self.wire.ended:
            self.wire.step()

    def check(self, missing: int) -> None:
        """Check that nothing is torn or doubled, and at most ``missing`` were lost."""
        if self.kind == "read":
            check_read(self, missing)
        else:
            check_written(self)
        assert self.wire.ended, "our end was not closed"
        assert not self.driver.waiting
        assert self.driver.leader == NOBODY
        assert self.driver.writer is None
        assert self.driver.loop.is_closed()


def connect(channel: IPCChannelClient, wire: Wire) -> None:
    """Give ``channel`` a session with a peer."""
    driver, end = parts_of(channel)

    async def begin() -> Session:
        return Session(
            wire.stream(driver.loop), logger=logging.getLogger("ipc_channel"), name="test"
        )

    end.session = driver.run(begin())


def let_act(driver: Driver, wire: Wire) -> None:
    """Have the peer act whenever the channel polls."""
    poll = driver.loop.poller.poll

    def step_and_poll(timeout: float | None) -> Sequence[tuple[int, int]]:
        if not wire.ended:
            wire.step()
            if wire.ended:
                wire.close()
        ready = poll(PATIENCE if timeout is None else timeout)
        assert ready or timeout is not None, "nothing would ever come"
        return ready

    driver.poller.poll = step_and_poll  # type: ignore[method-assign]  # nor does it spin
