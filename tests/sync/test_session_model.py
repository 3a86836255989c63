"""Random sequences of connect, read, write, timeouts and close, against a simple model.

The peer is raw: one thread writes what it is told to, another collects frames. Other
threads of ours read, too.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from blocking import Call, driver_of, meet
from ipc_channel import UnfinishedWriteError
from ipc_channel.sync import IPCChannel, make_ipc_channel
from pumped_peer import Peer, check_written
from raw import CLOSE, PATIENCE, frame

SIZES = st.sampled_from([1, 2, 100, 4096, 70_000, 400_000])
TIMEOUTS = st.sampled_from([0, 0.0001, 0.001])


class SessionModel(RuleBasedStateMachine):
    """What was sent must be what arrives; only a write that timed out may be missing."""

    transport: Any = "named_pipe"

    def __init__(self) -> None:
        super().__init__()
        self.server: IPCChannel = make_ipc_channel(
            transport=self.transport, linger=PATIENCE
        )
        self.peer: Peer | None = None
        self.counter = 0
        self.sent_to_us: list[bytes] = []
        self.read = 0
        self.ended = False
        self.written: list[tuple[bytes, bool]] = []  # message, whether it must arrive

    def message(self, size: int) -> bytes:
        self.counter += 1
        return self.counter.to_bytes(4, "big") + bytes(size)

    @precondition(lambda self: self.peer is None)
    @rule()
    def nobody_connects(self) -> None:
        assert not self.server.connect(0)

    @precondition(lambda self: self.peer is None)
    @rule()
    def connect(self) -> None:
        self.peer = Peer(meet(self.server))
        assert self.server.connected
        self.sent_to_us, self.read, self.ended, self.written = [], 0, False, []

    @precondition(lambda self: self.peer is not None and not self.ended)
    @rule(size=SIZES)
    def peer_sends(self, size: int) -> None:
        assert self.peer
        self.sent_to_us.append(self.message(size))
        self.peer.to_send.put(frame(self.sent_to_us[-1]))

    @precondition(lambda self: self.peer is not None and not self.ended)
    @rule()
    def peer_ends_its_direction(self) -> None:
        assert self.peer
        self.ended = True
        self.peer.to_send.put(CLOSE)

    # What a read in time got depends on timing, so no precondition may depend on it.
    @precondition(lambda self: self.peer is not None)
    @rule(timeout=st.sampled_from([None, PATIENCE]), in_thread=st.booleans())
    def read_one(self, timeout: float | None, in_thread: bool) -> None:
        if self.read == len(self.sent_to_us):
            return
        if in_thread:
            got = Call(self.server.read, timeout).result()
        else:
            got = self.server.read(timeout)
        assert got == self.sent_to_us[self.read]
        self.read += 1

    @precondition(lambda self: self.peer is not None)
    @rule(count=st.integers(2, 4))
    def read_in_threads(self, count: int) -> None:
        count = min(count, len(self.sent_to_us) - self.read)
        readers = [Call(self.server.read) for _ in range(count)]
        expected = self.sent_to_us[self.read :][:count]
        assert sorted(reader.result() or b"" for reader in readers) == sorted(expected)
        self.read += count

    @precondition(lambda self: self.peer is not None)
    @rule(timeout=TIMEOUTS)
    def read_in_time(self, timeout: float) -> None:
        try:
            got = self.server.read(timeout)
        except TimeoutError:
            return
        if self.read < len(self.sent_to_us):
            assert got == self.sent_to_us[self.read]
            self.read += 1
        else:
            assert self.ended
            assert got is None

    @precondition(lambda self: self.peer is not None and self.ended)
    @rule()
    def read_to_the_end(self) -> None:
        for got in self.server:
            assert got == self.sent_to_us[self.read]
            self.read += 1
        assert self.read == len(self.sent_to_us)
        assert self.server.end_reason == "clean"

    @precondition(lambda self: self.peer is not None)
    @rule(size=SIZES, timeout=st.sampled_from([None, PATIENCE]))
    def write(self, size: int, timeout: float | None) -> None:
        message = self.message(size)
        self.server.write(message, timeout)
        self.written.append((message, True))

    @precondition(lambda self: self.peer is not None)
    @rule(sizes=st.lists(SIZES, max_size=4))
    def write_many(self, sizes: list[int]) -> None:
        messages = [self.message(size) for size in sizes]
        self.server.write_many(messages)
        self.written += [(message, True) for message in messages]

    @precondition(lambda self: self.peer is not None)
    @rule(size=SIZES, timeout=TIMEOUTS)
    def write_in_time(self, size: int, timeout: float) -> None:
        message = self.message(size)
        try:
            self.server.write(message, timeout)
        except UnfinishedWriteError:
            pass  # the rest is sent later
        except TimeoutError:
            return
        self.written.append((message, True))

    @precondition(lambda self: self.peer is not None)
    @rule()
    def end_the_session(self) -> None:
        """Close, and go on with a new channel."""
        assert self.peer
        self.peer.to_send.put(None)
        self.server.close()
        self.peer.finish()
        assert self.peer.clean, "no close frame came"
        check_written(self.peer, self.written)
        self.peer = None
        assert driver_of(self.server).loop.is_closed()
        self.server = make_ipc_channel(transport=self.transport, linger=PATIENCE)

    @precondition(lambda self: self.peer is not None and self.ended)
    @rule()
    def connect_again(self) -> None:
        """After the peer's end: nothing of this session may show in the next."""
        assert self.peer
        self.read_to_the_end()
        self.peer.to_send.put(None)
        assert not self.server.connect(0)
        self.peer.finish()
        check_written(self.peer, self.written)
        self.peer = None

    def teardown(self) -> None:
        if self.peer is not None:
            self.end_the_session()
        self.server.close()
        assert not driver_of(self.server).waiting


def test_model(transport: str) -> None:
    class Model(SessionModel):
        pass

    Model.transport = transport
    run_state_machine_as_test(
        Model, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
