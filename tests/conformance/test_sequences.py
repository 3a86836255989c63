"""Random sequences of events: every client answers as the table of states does.

A sequence is made from its number: messages both ways, then an end that the peer
makes, reads and writes after it, and a close somewhere.
"""

from __future__ import annotations

import random
import tempfile

import pytest

from conformance.session_model import Model
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.testee import Reply
from ipc_channel.conformance.trace import Trace
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire
from ipc_channel.protocol.session_state import Event

PATIENCE = 30.0  # seconds
ENDS = {
    "named_pipe": ("none", "close frame", "end", "cut", "over the limit"),
    "tcp": ("none", "close frame", "end", "cut", "over the limit", "reset"),
}


class Sequence:
    """One of them, carried out by a testee and by the model at once."""

    def __init__(self, trial: Trial, peer: Wire, seed: int) -> None:
        self._trial = trial
        self._peer = peer
        self._random = random.Random(seed)
        self._model = Model()
        self._end_was_read = False
        self._was_heard = False  # the testee has got a byte

    async def run(self) -> None:
        for _ in range(self._random.randrange(8)):
            await self._step_while_open()
        await self._end(self._random.choice(ENDS[self._trial.transport]))
        for _ in range(self._random.randrange(8)):
            await self._step_at_the_end()
        await self._close()
        for _ in range(3):
            await self._step_at_the_end()

    async def _step_while_open(self) -> None:
        if (chance := self._random.random()) < 0.5:
            await self._send(self._random.randbytes(self._random.choice([1, 5, 5000])))
        elif chance < 0.75 and self._model.messages:
            await self._read()
        else:
            await self._write()

    async def _send(self, message: bytes) -> None:
        await self._peer.send(frame(message))
        self._model.on_event(Event.FRAME, message)
        self._was_heard = True

    async def _end(self, end: str) -> None:
        if end == "close frame":
            await self._peer.send(CLOSE)
            self._model.on_event(Event.CLOSE_FRAME)
        elif end == "over the limit":
            await self._peer.send(b"\xff" * 4)
            self._model.on_event(Event.OVER_LIMIT)
        elif end == "end":
            if not self._was_heard:  # a named pipe then waits for its other end (RDV-26)
                await self._send(b"first")
            self._peer.end_writing()
            self._model.on_event(Event.END_AT_BOUNDARY)
        elif end == "cut":
            await self._peer.send(b"\0\0")
            self._peer.end_writing()
            self._model.on_event(Event.END_INSIDE_FRAME)
        elif end == "reset":
            while self._model.messages:  # or else it may overtake them
                await self._read()
            self._peer.reset()
            self._model.on_event(Event.RESET_ON_READ)

    async def _step_at_the_end(self) -> None:
        state = self._model.state
        if self._random.random() < 0.5:
            if self._model.messages or state.end is not None:
                await self._read()
        # One that reads only when it is told to has not noticed these before.
        elif self._end_was_read or state.end not in ("too_large", "reset"):
            await self._write()

    async def _read(self) -> None:
        message = self._model.messages[0] if self._model.messages else None
        expected = self._model.read()
        reply = await self._trial.tell("read")
        if message is not None:
            self._trial.check_message(reply, message)
            return
        self._check_end(reply, expected)

    def _check_end(self, reply: Reply, expected: str) -> None:
        end = str(self._model.state.end)
        if end == "local" and reply.get("error") == "closed":
            reply = {"end": reply.get("end", "local")}  # which some languages say besides
        error = None if expected in ("end", "local") else expected
        # Only one that reads ahead has noticed an end by the time that it is closed.
        unread = self._model.state.closed and not self._end_was_read
        if unread and reply.get("end") == "local":
            return
        self._end_was_read = True
        self._trial.check_end(reply, end, error)

    async def _write(self) -> None:
        message = self._random.randbytes(20)
        expected = self._model.write()
        pattern = {"pattern": message.hex(), "sizes": [len(message)]}
        if expected == "sends":
            await self._trial.do("write", **pattern)
            await self._peer.expect_message(message)
        else:
            await self._trial.fail(expected, "write", **pattern)

    async def _close(self) -> None:
        closing = self._trial.begin("close")
        sends = self._model.output() == "sent"
        self._model.on_event(Event.CLOSE)
        self._model.on_event(Event.ALL_SENT)
        if sends:
            await self._peer.expect_close()
            self._peer.close()
        self._trial.check_ok(await self._trial.answer(closing), "close")


@pytest.mark.covers("SES-1", "SES-2", "SES-4", "SES-6", "SES-26", "SES-30", "SES-31")
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("transport", list(ENDS))
async def test_random_sequences(testee: list[str], transport: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trace = Trace()
        trial = Trial(
            transport=transport,
            command=testee,
            directory=directory,
            trace=trace,
            patience=PATIENCE,
            seed=seed,
        )
        try:
            await trial.start()
            await Sequence(trial, await trial.meet(), seed).run()
            await trial.finish()
        except Exception:
            print("\n".join(trace.lines()))
            raise
        finally:
            await trial.clean_up()
