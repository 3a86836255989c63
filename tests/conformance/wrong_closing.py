"""Faults of sessions: what an end does to the other direction, and how a channel is closed."""

from __future__ import annotations

import asyncio
from typing import Any

from conformance.faults import fault
from ipc_channel import (
    ChannelClosedError,
    EndReason,
    framing,
    receiver,
    sender,
    session,
    tcp_stream,
)
from ipc_channel.conformance.python_testee import Testee, Told

Session = session.Session

# --- Ends


@fault("limits/receive/writes-after-too-large")
def writes_after_too_large() -> None:
    real = Session._on_receiver_end

    def on_end(self: Session) -> None:
        if self.receiver.end is not EndReason.TOO_LARGE:
            real(self)

    Session._on_receiver_end = on_end


@fault("limits/receive/write-that-waits")
def tells_no_writer_that_waits() -> None:
    real = sender.Sender.refuse

    def refuse(self: sender.Sender, error: Any) -> None:
        if self.error is None and error.code == "too-large":
            self.error = error
        else:
            real(self, error)

    sender.Sender.refuse = refuse


def end_writing_at(*ends: EndReason) -> None:
    real = Session._on_receiver_end

    def on_end(self: Session) -> None:
        real(self)
        if self.receiver.end in ends:
            self.sender.fail(ChannelClosedError("the peer has ended"))

    Session._on_receiver_end = on_end


@fault("ends/half/after-truncated")
def does_not_write_after_truncated() -> None:
    end_writing_at(EndReason.TRUNCATED)


@fault("ends/half/after-close-frame")
def does_not_write_after_clean() -> None:
    end_writing_at(EndReason.CLEAN)


@fault("ends/half/after-end-of-stream")
def does_not_write_after_eof() -> None:
    end_writing_at(EndReason.EOF)


@fault("ends/write/reading-goes-on")
def a_failed_write_ends_reading() -> None:
    real = sender.Sender._on_error

    def on_error(self: sender.Sender, cause: OSError) -> None:
        self._stream.stop_reading()
        real(self, cause)

    sender.Sender._on_error = on_error


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


@fault("limits/receive/header-takes-no-memory")
def eight_mebibytes_by_the_header() -> None:
    framing._RESERVE = 8 * 2**20
    real = framing.Payload._reserve

    def reserve(self: framing.Payload) -> None:
        real(self)
        self.room[:] = bytes(len(self.room))

    framing.Payload._reserve = reserve


# --- The linger


def set_linger(linger: float | None) -> None:
    real = Session._finish

    async def finish(self: Session, _: float) -> None:
        await real(self, 3600 if linger is None else linger)

    Session._finish = finish


@fault("lifecycle/close/long-linger")
def always_lingers_a_second() -> None:
    set_linger(1)


@fault("lifecycle/close/short-linger")
def never_lingers_less_than_a_second() -> None:
    set_linger(1)


@fault("lifecycle/close/one-linger")
def lingers_anew_after_the_stream_was_ended() -> None:
    async def finish(self: Session, linger: float) -> None:
        drained = self.receiver.discard()
        await self._wait(self.sender.close(), linger, lambda: False)
        self._stream.finish_writing()
        await asyncio.wait({drained}, timeout=linger)

    Session._finish = finish


@fault("lifecycle/close/peer-that-never-stops")
def drains_while_the_peer_talks() -> None:
    async def finish(self: Session, linger: float) -> None:
        drained = self.receiver.discard()
        sent = self.sender.close()
        if await self._wait(sent, linger, lambda: False) and self._stream.finish_writing():
            before = -1
            while not drained.done() and before != self.receiver.discarded:
                before = self.receiver.discarded
                await asyncio.wait({drained}, timeout=linger)

    Session._finish = finish


@fault("lifecycle/close/peer-that-only-sends")
def takes_what_the_peer_sends_for_progress() -> None:
    async def wait(self: Session, future: Any, linger: float, enough: Any) -> bool:
        before = None
        while not future.done():
            now = self.sender.queued, self.receiver.discarded
            if now == before:
                return False
            before = now
            await asyncio.wait({future}, timeout=linger)
        return True

    Session._wait = wait


@fault("lifecycle/close/any-progress-counts")
def counts_progress_in_large_steps() -> None:
    real = sender.Sender.queued.fget
    sender.Sender.queued = property(lambda self: -(-real(self) // 2**16))


@fault("lifecycle/close/peer-that-takes-no-more")
def drains_until_the_peer_ends() -> None:
    async def finish(self: Session, linger: float) -> None:
        drained = self.receiver.discard()
        sent = self.sender.close()
        if await self._wait(sent, linger, lambda: False) and self._stream.finish_writing():
            await drained

    Session._finish = finish


# --- Closing


@fault("lifecycle/close/ends-its-stream")
def does_not_shut_down_its_writing_side() -> None:
    tcp_stream.SocketStream.finish_writing = lambda self: True


@fault("lifecycle/close/before-it-is-let-in")
def leaves_in_silence_before_it_is_let_in() -> None:
    tcp_stream.SocketStream._has_met = lambda self: True


@fault("lifecycle/close/peer-that-breaks-the-limit")
@fault("lifecycle/close/peer-that-sends-after-its-end")
def does_not_read_on_after_an_end() -> None:
    real = receiver.Receiver.discard

    def discard(self: receiver.Receiver) -> Any:
        has_ended = self.end is not None
        drained = real(self)
        if has_ended:
            self._pause()
        return drained

    receiver.Receiver.discard = discard


@fault("lifecycle/close/cancelled")
def a_cancelled_close_frees_nothing() -> None:
    abort = Session.abort

    def keep(self: Session) -> None:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            abort(self)

    Session.abort = keep


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
            await asyncio.gather(*testees[0]._tasks.values())
        return line

    Testee.__init__, asyncio.StreamReader.readline = begin, read
