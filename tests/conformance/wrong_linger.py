"""Faults of the linger: how long closing waits, and what it reads meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from conformance.faults import fault
from ipc_channel.aio import receiver, session
from ipc_channel.aio.session import Session
from ipc_channel.transports import socket_stream


@fault("lifecycle/close/linger-counts-anew")
def lingers_once() -> None:
    real = Session.finish

    async def finish(self: Session, linger: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(real(self, linger), linger)

    Session.finish = finish


@fault("lifecycle/close/unread-input")
def closes_with_unread_input() -> None:
    async def finish(self: Session, linger: float) -> None:
        self.sender.close()
        time.sleep(0.05)  # noqa: ASYNC251  # it does not drain meanwhile

    Session.finish = finish


@fault("lifecycle/close/peer-that-talks-on")
def does_not_drain_after_its_shutdown() -> None:
    async def finish(self: Session, linger: float) -> None:
        await self.sender.close()
        self.stream.finish_writing()

    Session.finish = finish


def set_linger(linger: float | None) -> None:
    real = Session.finish

    async def finish(self: Session, _: float) -> None:
        await real(self, 3600 if linger is None else linger)

    Session.finish = finish


@fault("lifecycle/close/long-linger")
def always_lingers_a_second() -> None:
    set_linger(1)


@fault("lifecycle/close/short-linger")
@fault("lifecycle/close/no-linger-waits-for-nothing")
def never_lingers_less_than_a_second() -> None:
    set_linger(1)


@fault("lifecycle/close/one-linger")
def lingers_anew_after_the_stream_was_ended() -> None:
    async def finish(self: Session, linger: float) -> None:
        drained = self.receiver.discard()
        await self.wait(self.sender.close(), linger, lambda: False)
        self.stream.finish_writing()
        await asyncio.wait({drained}, timeout=linger)

    Session.finish = finish


@fault("lifecycle/close/peer-that-never-stops")
def drains_while_the_peer_talks() -> None:
    async def finish(self: Session, linger: float) -> None:
        drained = self.receiver.discard()
        sent = self.sender.close()
        if await self.wait(sent, linger, lambda: False) and self.stream.finish_writing():
            before = -1
            while not drained.done() and before != self.receiver.discarded:
                before = self.receiver.discarded
                await asyncio.wait({drained}, timeout=linger)

    Session.finish = finish


@fault("lifecycle/close/peer-that-only-sends")
def takes_what_the_peer_sends_for_progress() -> None:
    async def wait(self: Session, future: Any, linger: float, enough: Any) -> bool:
        before = None
        while not future.done():
            now = self.sender.size, self.receiver.discarded
            if now == before:
                return False
            before = now
            await asyncio.wait({future}, timeout=linger)
        return True

    Session.wait = wait


@fault("lifecycle/close/any-progress-counts")
def counts_progress_in_large_steps() -> None:
    async def wait(self: Session, future: Any, linger: float, enough: Any) -> bool:
        before = None
        while not future.done():
            now = -(-self.sender.size // 2**20)
            if now == before:
                return False
            before = now
            await asyncio.wait({future}, timeout=linger)
        return True

    Session.wait = wait


@fault("lifecycle/close/peer-that-takes-no-more")
def drains_until_the_peer_ends() -> None:
    async def finish(self: Session, linger: float) -> None:
        drained = self.receiver.discard()
        sent = self.sender.close()
        if await self.wait(sent, linger, lambda: False) and self.stream.finish_writing():
            await drained

    Session.finish = finish


@fault("lifecycle/close/before-it-is-let-in")
def leaves_in_silence_before_it_is_let_in() -> None:
    socket_stream.SocketStream.is_accepted = lambda self: True


@fault("lifecycle/close/peer-that-breaks-the-limit")
@fault("lifecycle/close/peer-that-sends-after-its-end")
def does_not_read_on_after_an_end() -> None:
    real = receiver.Receiver.discard

    def discard(self: receiver.Receiver) -> Any:
        has_ended = self.decoder.end is not None
        drained = real(self)
        if has_ended:
            self.pause()
        return drained

    receiver.Receiver.discard = discard


@fault("lifecycle/close/silence-since-its-last-byte")
def leaves_after_ten_milliseconds_of_silence() -> None:
    session.QUIET = 0.01


@fault("lifecycle/close/silence-since-its-last-byte")
def takes_no_byte_of_the_peer_for_a_sign_of_life() -> None:
    receiver.Receiver.discarded = property(lambda self: 0, lambda self, count: None)


@fault("lifecycle/close/default-linger")
def lingers_for_half_a_second() -> None:
    set_linger(0.5)


@fault("lifecycle/close/no-linger")
def sends_no_close_frame_without_a_linger() -> None:
    real = Session.finish

    async def finish(self: Session, linger: float) -> None:
        if linger:
            await real(self, linger)

    Session.finish = finish


@fault("lifecycle/close/peer-that-ends-its-direction")
@fault("lifecycle/close/peer-that-resets")
def waits_for_the_linger_whatever_its_peer_does() -> None:
    async def finish(self: Session, linger: float) -> None:
        await real(self, linger)
        await asyncio.sleep(linger)

    real = Session.finish
    Session.finish = finish


@fault("lifecycle/close/peer-that-has-said-its-last")
def takes_silence_for_leave() -> None:
    socket_stream.SocketStream.delivered = lambda self: True
