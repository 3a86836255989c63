"""Faults of closing: what is sent, kept and freed, and how a testee ends."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any

from conformance.faults import fault
from ipc_channel import IPCChannelClient, make_ipc_channel_client
from ipc_channel.aio import receiver
from ipc_channel.aio.session import Session
from ipc_channel.conformance import python_testee
from ipc_channel.conformance.python_testee import Testee, Told
from ipc_channel.protocol.session_state import Event, SessionState
from ipc_channel.transports import socket_stream


@fault("lifecycle/close/sends-everything")
def loses_the_last_message_on_close() -> None:
    real = Testee.do_write
    held: list[Told] = []

    async def write(self: Testee, told: Told) -> Told:
        sizes = told["sizes"]
        count = told.get("count", len(sizes))
        for size in itertools.islice(itertools.cycle(sizes), count):
            if held:
                await real(self, held.pop())
            held.append(told | {"sizes": [size], "count": 1})
        return {}

    Testee.do_write = write


@fault("lifecycle/close/twice")
def closes_only_once() -> None:
    real = Testee.do_close
    closed: list[int] = []

    async def close(self: Testee, told: Told) -> Told:
        if closed:
            return {"error": "closed", "text": "closed already"}
        closed.append(1)
        return await real(self, told)

    Testee.do_close = close


@fault("lifecycle/close/unread-messages")
def keeps_unread_messages() -> None:
    real = receiver.Receiver.discard

    def discard(self: receiver.Receiver) -> Any:
        kept = list(self.decoder.messages)
        drained = real(self)
        self.decoder.messages.extend(kept)
        return drained

    receiver.Receiver.discard = discard
    receiver.Receiver.forget = lambda self: None


@fault("lifecycle/close/frees-descriptors")
def leaks_descriptors() -> None:
    def make(*args: Any, **options: Any) -> IPCChannelClient:
        os.dup(0)
        return make_ipc_channel_client(*args, **options)

    python_testee.make_ipc_channel_client = make


@fault("lifecycle/exit/idle")
def never_ends() -> None:
    real = Testee.run

    async def run(self: Testee) -> None:
        await real(self)
        await asyncio.sleep(3600)

    Testee.run = run


@fault("lifecycle/exit/idle")
def ends_with_an_error() -> None:
    real = Testee.run

    async def run(self: Testee) -> None:
        await real(self)
        raise SystemExit(3)

    Testee.run = run


def end_overwritten_by_close(name: str, id_: str) -> None:
    def overwrites() -> None:
        real = Testee.do_read
        closed: list[int] = []

        async def read(self: Testee, told: Told) -> Told:
            return {"end": "local"} if closed else await real(self, told)

        async def close(self: Testee, told: Told) -> Told:
            closed.append(1)
            return await real_close(self, told)

        real_close = Testee.do_close
        Testee.do_read, Testee.do_close = read, close

    overwrites.__name__ = f"close_overwrites_{name}"
    fault(id_)(overwrites)


for _name in ("clean", "eof", "truncated", "too_large", "reset"):
    end_overwritten_by_close(
        _name, f"lifecycle/close/keeps-the-end/{_name.replace('_', '-')}"
    )


@fault("lifecycle/close/ends-its-stream")
def does_not_shut_down_its_writing_side() -> None:
    socket_stream.SocketStream.finish_writing = lambda self: True


@fault("lifecycle/close/cancelled")
def a_cancelled_close_frees_nothing() -> None:
    abort = Session.abort

    def keep(self: Session) -> None:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            abort(self)

    Session.abort = keep


class Timeless:
    """Says whether something is so, but not since when."""

    def __init__(self, is_so: bool) -> None:
        self._is_so = is_so

    def __bool__(self) -> bool:
        return self._is_so

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


@fault("lifecycle/close/silence-since-it-was-accepted")
def leaves_as_soon_as_it_is_accepted() -> None:
    real = socket_stream.SocketStream.delivered

    def delivered(self: socket_stream.SocketStream) -> Any:
        return Timeless(real(self))

    socket_stream.SocketStream.delivered = delivered


@fault("cancel/second-close")
def a_cancelled_second_close_ends_the_first() -> None:
    real = Session.close

    async def close(self: Session, linger: float | None = None) -> None:
        try:
            await real(self, linger)
        except asyncio.CancelledError:
            self.abort()
            raise

    Session.close = close


@fault("lifecycle/exit/waiting-read")
@fault("lifecycle/exit/waiting-write")
@fault("lifecycle/exit/waiting-connect")
def waits_for_its_requests_at_the_end() -> None:
    testees: list[Testee] = []
    init, readline = Testee.__init__, asyncio.StreamReader.readline

    def begin(self: Testee) -> None:
        init(self)
        testees.append(self)

    async def read(self: asyncio.StreamReader) -> bytes:
        line = await readline(self)
        if not line:
            await asyncio.gather(*testees[0].tasks.values())
        return line

    Testee.__init__, asyncio.StreamReader.readline = begin, read


@fault("lifecycle/close/before-the-end-is-read")
def tells_an_end_that_no_reader_has_reached() -> None:
    real = SessionState.on

    def on(self: SessionState, event: Event, error: Any = None) -> None:
        noticed = self.end
        real(self, event, error)
        self.end = noticed or self.end

    SessionState.on = on
