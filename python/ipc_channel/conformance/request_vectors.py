"""Plays the vectors of the requests layer with a testee (spec/vectors/requests.json)."""

from __future__ import annotations

from typing import Any

from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.request_peer import (
    ANSWER,
    CANCEL,
    ERROR,
    REQUEST,
    Message,
    RequestPeer,
    decode,
    is_error,
)
from ipc_channel.conformance.testee import Pending
from ipc_channel.conformance.trial import Trial

Step = dict[str, Any]
_ENDS = {
    "close": (CLOSE, "clean", None),
    "eof": (b"", "eof", None),
    "truncated": (bytes(3), "truncated", "truncated"),
}


def needs_of(vector: dict[str, Any]) -> str:
    """Return the abilities that a testee needs for a vector."""
    kinds = [kind for step in vector["steps"] for kind in step]
    needs = ["requests"]
    if kinds.count("call") + ("serve" in vector) > 1 or "close" in kinds:
        needs.append("concurrent")
    if "cancel" in kinds:
        needs += ["cancel", "concurrent"]
    if "max_message_size" in vector:
        needs.append("max_message_size")
    return " ".join(needs)


async def play(t: Trial, vector: dict[str, Any]) -> None:
    """Do each step of a vector."""
    options = {key: vector[key] for key in ("max_message_size",) if key in vector}
    play = _Play(t, RequestPeer(await t.meet(**options)))
    if "serve" in vector:
        play.serving = t.begin("serve", concurrency=vector["serve"])
    for step in vector["steps"]:
        await play.step(step)
    await play.finish()


class _Play:
    """One vector.

    The vectors number the requests of the testee from 1; the testee has ids of its own.
    """

    def __init__(self, t: Trial, peer: RequestPeer) -> None:
        self.serving: Pending | None = None
        self._t = t
        self._peer = peer
        self._calls: dict[str, Pending] = {}
        self._answered: set[str] = set()
        self._closing: Pending | None = None
        self._open: dict[int, int] = {}  # its ids by those of the vector
        self._cancels: set[int] = set()  # the ids of requests that the peer has cancelled
        self._end: str | None = None  # what the peer has done, in the words of the vector

    async def step(self, step: Step) -> None:
        do = next(iter(step))
        if do in ("answer", "error"):
            await self._result(step[do], step)
        elif do in ("sends", "sends_error"):
            await self._sends(step)
        elif do == "peer":
            await self._peer_ends(step["peer"])
        else:
            await getattr(self, f"_{do}")(step)

    async def _call(self, step: Step) -> None:
        self._calls[step["call"]] = self._t.begin("call", payload=step["payload"])

    async def _cancel(self, step: Step) -> None:
        name = step["cancel"]
        call = self._calls[name]
        await self._t.do("cancel", of=call.id)
        if name not in self._answered:
            self._t.check_error(await self._t.answer(call), "cancelled", call.text)

    async def _close(self, _: Step) -> None:
        self._closing = self._t.begin("close")

    async def _receive(self, step: Step) -> None:
        data = bytes.fromhex(step["receive"])
        message = decode(data)
        if message is not None and message.kind == CANCEL:
            self._cancels.add(message.id)
        if message is None or message.kind not in (ANSWER, ERROR):
            await self._peer.wire.send(frame(data))
        else:
            await self._peer.send(Message(message.kind, self._id(message.id), message.body))

    def _id(self, number: int) -> int:
        """Return the testee's id of an open request, or one that no open request has."""
        if number in self._open:
            return self._open.pop(number)
        while number in self._open.values():
            number += 1
        return number

    async def _peer_ends(self, how: str) -> None:
        self._end = how
        await self._peer.wire.send(_ENDS[how][0])
        self._peer.wire.end_writing()

    async def _sends(self, step: Step) -> None:
        if "sends_error" in step:
            await self._peer.expect_error(step["sends_error"], step["code"])
            return
        message = decode(bytes.fromhex(step["sends"]))
        assert message is not None
        if message.kind == REQUEST:
            self._open[message.id] = await self._peer.expect_request(message.body)
        elif message.kind == CANCEL:
            await self._peer.expect(Message(CANCEL, self._open[message.id]))
        else:
            await self._sends_answer(message)

    async def _sends_answer(self, message: Message) -> None:
        """Read an answer, or the error of a handler that the cancel has forestalled."""
        got = await self._peer.receive(message)
        forestalled = message.id in self._cancels and is_error(got, message.id, "cancelled")
        self._t.expect(forestalled or got == message, "what the testee sent", message, got)

    async def _result(self, name: str, step: Step) -> None:
        """Check what a call has come to."""
        call = self._calls[name]
        self._answered.add(name)
        reply = await self._t.answer(call)
        if "error" in step:
            self._t.check_error(reply, step["code"], call.text)
            if "text" in step:
                text = reply.get("text", "")
                same = text == step["text"]
                self._t.expect(same, "the text of an error", repr(step["text"]), repr(text))
            return
        got = self._t.check_ok(reply, call.text).get("payload")
        self._t.expect(got == step["payload"], "the answer", step["payload"], got)

    async def _closes(self, _: Step) -> None:
        """Check that the session ends: by the layer, unless the peer has ended."""
        if self.serving is not None:
            await self._serving_ended(self.serving)
            self.serving = None
        if self._end is not None:
            self._closing = self._t.begin("close")
        await self._peer.wire.expect_close()
        self._peer.wire.close()

    async def _serving_ended(self, serving: Pending) -> None:
        reply = await self._t.answer(serving)
        if self._end is None:
            self._t.check_error(reply, "bad-message", serving.text)
        else:
            self._t.check_end(reply, *_ENDS[self._end][1:])

    async def finish(self) -> None:
        """End the session, so that nothing is left to answer."""
        if self._closing is not None and self._end is None:
            await self._peer.wire.expect_close()
        self._peer.wire.close()
        for one in (self._closing, self.serving):
            if one is not None:
                await self._t.answer(one)
