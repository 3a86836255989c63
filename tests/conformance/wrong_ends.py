"""Faults of ends: what a reader is told, and what becomes of the other direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conformance.faults import fault
from ipc_channel import (
    ChannelClosedError,
    EndReason,
    PeerGoneError,
    ResetError,
    TruncatedError,
)
from ipc_channel.aio import sender
from ipc_channel.conformance.python_testee import Testee, Told
from ipc_channel.protocol import framing, session_state
from ipc_channel.protocol.session_state import Event, Phase, SessionState


def map_end(change: Callable[[EndReason], EndReason]) -> None:
    real = framing.Decoder.stop

    def stop(self: framing.Decoder, end: EndReason, error: Any = None) -> None:
        changed = change(end)
        real(self, changed, error if changed == end else None)

    framing.Decoder.stop = stop


@fault("ends/payload-eof")
def end_inside_a_frame_looks_clean() -> None:
    map_end(lambda end: EndReason.CLEAN if end == "truncated" else end)


@fault("ends/boundary-eof")
def crash_looks_clean() -> None:
    map_end(lambda end: EndReason.CLEAN if end == "eof" else end)


@fault("ends/boundary-reset")
def reset_looks_like_an_end() -> None:
    map_end(lambda end: EndReason.EOF if end == "reset" else end)


@fault("ends/close-eof")
def waits_for_the_end_of_the_stream() -> None:
    """It takes the close frame for nothing."""
    real = framing.Decoder.refuse

    def refuse(self: framing.Decoder, length: int) -> None:
        if length:
            real(self, length)

    framing.Decoder.refuse = refuse


@fault("ends/header-eof")
def end_is_told_once() -> None:
    asked: list[int] = []
    real = Testee.do_read

    async def read(self: Testee, told: Told) -> Told:
        if asked:
            return {"end": "eof"}
        try:
            answer = await real(self, told)
        except TruncatedError:
            asked.append(1)
            raise
        if "end" in answer:
            asked.append(1)
        return answer

    Testee.do_read = read


@fault("ends/messages-before-it")
def end_overtakes_messages() -> None:
    real = framing.Decoder.stop

    def stop(self: framing.Decoder, end: EndReason, error: Any = None) -> None:
        self.messages.clear()
        real(self, end, error)

    framing.Decoder.stop = stop


@fault("ends/write/meets-a-reset")
def forgets_a_reset_that_a_write_met() -> None:
    session_state.TABLE[Phase.RESET_MET][Event.END_AT_BOUNDARY] = Phase.OVER, EndReason.EOF
    real = SessionState.on

    def on(self: SessionState, event: Event, error: Any = None) -> None:
        if event is Event.RESET_ON_READ:
            event, error = Event.END_AT_BOUNDARY, None
        real(self, event, error)

    SessionState.on = on


def end_writing_at(*ends: EndReason) -> None:
    def on(self: SessionState, event: Event, error: Any = None) -> None:
        real(self, event, error)
        if self.end in ends and self.write_error is None:
            self.write_error, self.sends = ChannelClosedError("the peer has ended"), False

    real = SessionState.on
    SessionState.on = on


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
    real = sender.Sender.on_error

    def on_error(self: sender.Sender, cause: OSError) -> None:
        self.stream.stop_reading()
        real(self, cause)

    sender.Sender.on_error = on_error


@fault("ends/write/fails-the-same-each-time")
def tells_why_a_write_fails_only_once() -> None:
    failed: list[int] = []

    async def write(self: Testee, told: Told) -> Told:
        try:
            return await real(self, told)
        except (PeerGoneError, ResetError):
            failed.append(1)
            if len(failed) > 1:
                raise ChannelClosedError("it has failed before") from None
            raise

    real = Testee.do_write
    Testee.do_write = write


@fault("ends/write/after-a-reset")
def takes_a_reset_for_a_peer_that_does_not_read() -> None:
    def on(self: SessionState, event: Event, error: Any = None) -> None:
        real(self, event, error)
        if isinstance(self.write_error, ResetError):
            self.write_error = PeerGoneError("gone")

    real = SessionState.on
    SessionState.on = on
