"""The other end of the requests layer (spec/requests.md), over a wire that may misbehave.

As in :mod:`~ipc_channel.conformance.raw_peer`, nothing here is shared with the package.
"""

from __future__ import annotations

import select
import struct
from dataclasses import dataclass
from typing import Any

from ipc_channel.conformance.case import CaseFailedError
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.testee import Pending
from ipc_channel.conformance.trace import shorten_text
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import Wire

REQUEST, ANSWER, ERROR, CANCEL = 0x11, 0x12, 0x13, 0x14
_NAMES = {REQUEST: "request", ANSWER: "answer", ERROR: "error", CANCEL: "cancel"}
_HEAD = struct.Struct(">BI")


@dataclass(frozen=True)
class Message:
    """A message of the layer."""

    kind: int
    id: int
    body: bytes = b""

    def encode(self) -> bytes:
        return _HEAD.pack(self.kind, self.id) + self.body

    def __str__(self) -> str:
        name = _NAMES.get(self.kind, f"kind 0x{self.kind:02x}")
        return shorten_text(f"{name} {self.id}: {self.body[:60]!r}, {len(self.body)} bytes")


def request(id_: int, payload: bytes = b"") -> Message:
    return Message(REQUEST, id_, payload)


def answer(id_: int, payload: bytes = b"") -> Message:
    return Message(ANSWER, id_, payload)


def error(id_: int, code: str, text: str = "") -> Message:
    return Message(ERROR, id_, bytes([len(code)]) + code.encode() + text.encode())


def cancel(id_: int) -> Message:
    return Message(CANCEL, id_)


def decode(data: bytes | None) -> Message | None:
    """Return a message of the layer, or None if ``data`` is none."""
    if data is None or len(data) < _HEAD.size:
        return None
    kind, id_ = _HEAD.unpack_from(data)
    return Message(kind, id_, data[_HEAD.size :])


class RequestPeer:
    """Sends messages of the layer, and checks those of the testee."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.open: set[int] = set()
        """The ids of the requests of the testee that were not answered."""

    async def send(self, *messages: Message) -> None:
        """Send messages, all at once."""
        await self.wire.send(self.frames(*messages))

    def deliver(self, *messages: Message) -> None:
        """Send messages in the background."""
        self.wire.deliver(self.frames(*messages))

    def frames(self, *messages: Message) -> bytes:
        """Return the frames of messages, which are sent next."""
        self.open -= {one.id for one in messages if one.kind in (ANSWER, ERROR)}
        return b"".join(frame(one.encode()) for one in messages)

    async def receive(self, due: object = "a message of the requests layer") -> Message:
        """Return the next message of the testee, which should be as ``due`` says."""
        try:
            data = await self.wire.receive_frame()
        except CaseFailedError as failure:
            raise _other(due, f"no whole message; {failure}") from None
        message = decode(data)
        if message is None:
            seen = {None: "the end of its stream", b"": "a close frame"}
            raise _other(due, seen.get(data, f"the bytes {(data or b'').hex(' ')}"))
        if message.kind == REQUEST:
            if message.id in self.open:
                raise _other("a request with an id that no open request has", message)
            self.open.add(message.id)
        return message

    async def expect(self, expected: Message) -> None:
        """Read a message, and fail unless it is this one."""
        got = await self.receive(expected)
        if got != expected:
            raise _other(expected, got)

    async def expect_request(self, payload: bytes) -> int:
        """Read a request, whatever its id, and return that."""
        due = f"a request, whatever its id, with {payload[:60]!r}"
        got = await self.receive(due)
        if (got.kind, got.body) != (REQUEST, payload):
            raise _other(due, got)
        return got.id

    async def expect_requests(self, count: int) -> list[Message]:
        """Read that many requests."""
        found = [await self.receive(f"{count} requests") for _ in range(count)]
        for one in found:
            if one.kind != REQUEST:
                raise _other("a request", one)
        return found

    async def expect_error(self, id_: int, code: str) -> None:
        """Read an error with this code and any text."""
        due = f"error {id_} with the code {code!r} and any text"
        got = await self.receive(due)
        if not is_error(got, id_, code):
            raise _other(due, got)

    async def expect_each(self, *expected: Message) -> None:
        """Read these messages, in any order."""
        left = list(expected)
        while left:
            due = f"one of {len(left)}, such as {left[0]}"
            got = await self.receive(due)
            if got not in left:
                raise _other(due, got)
            left.remove(got)

    async def expect_errors(self, code: str, *ids: int) -> None:
        """Read an error with this code for each of these ids, in any order."""
        left = set(ids)
        while left:
            due = f"one of {len(left)} errors {code!r}, such as for {min(left)}"
            got = await self.receive(due)
            if not any(is_error(got, one, code) for one in left):
                raise _other(due, got)
            left.discard(got.id)

    async def start_handlers(self, *ids: int) -> None:
        """Make a handler run for each of these ids, until it is cancelled."""
        for one in ids:
            await self.send(request(one, b"s%d" % one))
            await self.send(answer(await self.expect_request(b"%d" % one)))

    def has_sent(self) -> bool:
        """Whether the testee has sent something that was not received."""
        poller = select.poll()
        poller.register(self.wire.in_fd, select.POLLIN)
        return bool(poller.poll(0))


async def serve(
    t: Trial, concurrency: int = 1, **options: Any
) -> tuple[RequestPeer, Pending]:
    """Connect the testee, and make it serve."""
    peer = RequestPeer(await t.meet(**options))
    return peer, t.begin("serve", concurrency=concurrency)


def is_error(message: Message, id_: int, code: str) -> bool:
    """Whether it is an error with this id and code."""
    begin = bytes([len(code)]) + code.encode()
    return (message.kind, message.id) == (ERROR, id_) and message.body.startswith(begin)


def _other(expected: object, actual: object) -> CaseFailedError:
    return CaseFailedError("the testee sent another message", expected, actual)
