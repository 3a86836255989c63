"""Random sequences of connect, read, write, cancel and close, against a simple model.

The peer is raw: one thread writes what it is told to, another collects frames.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ipc_channel import IPCChannel, make_ipc_channel
from pumped_peer import Peer, check_written
from raw import CLOSE, PATIENCE, Raw, dial, frame

SIZES = st.sampled_from([1, 2, 100, 4096, 70_000, 400_000])


class SessionModel(RuleBasedStateMachine):
    """What was sent must be what arrives; only a cancelled write may be missing."""

    transport: Any = "named_pipe"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.server: IPCChannel = make_ipc_channel(
            transport=self.transport, linger=PATIENCE
        )
        self.peer: Peer | None = None
        self.counter = 0
        self.sent_to_us: list[bytes] = []
        self.read = 0
        self.ended = False
        self.written: list[tuple[bytes, bool]] = []  # message, whether it must arrive

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE))

    def message(self, size: int) -> bytes:
        self.counter += 1
        return self.counter.to_bytes(4, "big") + bytes(size)

    @precondition(lambda self: self.peer is None)
    @rule()
    def nobody_connects(self) -> None:
        assert not self.run(self.server.connect(0))

    @precondition(lambda self: self.peer is None)
    @rule()
    def connect(self) -> None:
        async def meet() -> Raw:
            meeting = asyncio.to_thread(dial, self.server.out_path, self.server.in_path)
            raw, came = await asyncio.gather(meeting, self.server.connect(PATIENCE))
            assert came
            return raw

        self.peer = Peer(self.run(meet()))
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

    # What a cancelled read got depends on timing, so no precondition may depend on it.
    @precondition(lambda self: self.peer is not None)
    @rule()
    def read_one(self) -> None:
        if self.read == len(self.sent_to_us):
            return
        assert self.run(self.server.read()) == self.sent_to_us[self.read]
        self.read += 1

    @precondition(lambda self: self.peer is not None)
    @rule(turns=st.integers(0, 5))
    def read_and_cancel(self, turns: int) -> None:
        finished, got = self.run(cancel_after(self.server.read(), turns))
        if not finished:
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
        while (got := self.run(self.server.read())) is not None:
            assert got == self.sent_to_us[self.read]
            self.read += 1
        assert self.read == len(self.sent_to_us)
        assert self.server.end_reason == "clean"

    @precondition(lambda self: self.peer is not None)
    @rule(size=SIZES)
    def write(self, size: int) -> None:
        message = self.message(size)
        self.run(self.server.write(message))
        self.written.append((message, True))

    @precondition(lambda self: self.peer is not None)
    @rule(size=SIZES, turns=st.integers(0, 5))
    def write_and_cancel(self, size: int, turns: int) -> None:
        message = self.message(size)
        finished, _ = self.run(cancel_after(self.server.write(message), turns))
        self.written.append((message, finished))

    @precondition(lambda self: self.peer is not None)
    @rule()
    def end_the_session(self) -> None:
        """Close, and go on with a new channel."""
        assert self.peer
        self.peer.to_send.put(None)
        self.run(self.server.close())
        self.peer.finish()
        assert self.peer.clean, "no close frame came"
        check_written(self.peer, self.written)
        self.peer = None
        self.server = make_ipc_channel(transport=self.transport, linger=PATIENCE)

    @precondition(lambda self: self.peer is not None and self.ended)
    @rule()
    def connect_again(self) -> None:
        """After the peer's end: nothing of this session may show in the next."""
        assert self.peer
        self.read_to_the_end()
        self.peer.to_send.put(None)
        assert not self.run(self.server.connect(0))
        self.peer.finish()
        check_written(self.peer, self.written)
        self.peer = None

    def teardown(self) -> None:
        if self.peer is not None:
            self.end_the_session()
        self.run(self.server.close())
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()


async def cancel_after(coroutine: Any, turns: int) -> tuple[bool, Any]:
    """Run ``coroutine`` for some turns of the loop; say whether it finished, and how."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    return (False, None) if task.cancelled() else (True, task.result())


@pytest.mark.parametrize("transport", ["named_pipe", "tcp"])
def test_model(transport: str) -> None:
    class Model(SessionModel):
        pass

    Model.transport = transport
    run_state_machine_as_test(
        Model, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
