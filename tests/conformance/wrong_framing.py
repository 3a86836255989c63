"""Faults of framing: what a length means, and which are taken."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from conformance.faults import fault
from ipc_channel.aio import endpoint, sender
from ipc_channel.protocol import framing
from ipc_channel.protocol.session_state import Event, Phase, SessionState


class Header:
    """A header that is packed and unpacked in another way."""

    def __init__(self, form: str, more: int = 0) -> None:
        self._form, self._more = struct.Struct(form), more

    def pack(self, size: int) -> bytes:
        return self._form.pack(size + self._more if size else 0)

    def unpack_from(self, data: bytes, start: int) -> tuple[int]:
        (size,) = self._form.unpack_from(data, start)
        return (size - self._more if size else 0,)


def set_header(header: Header) -> None:
    framing.HEADER = header
    sender.encode_header = header.pack


@fault("framing/encode/size-256")
def little_endian_length() -> None:
    set_header(Header("<I"))


@fault("framing/encode/size-1")
def length_counts_itself() -> None:
    set_header(Header(">I", 4))


@fault("limits/receive/unsigned")
def signed_length() -> None:
    set_header(Header(">i"))
    real = framing.Decoder.refuse

    def refuse(self: framing.Decoder, length: int) -> None:
        if length >= 0:
            real(self, length)

    framing.Decoder.refuse = refuse


@fault("framing/receive/size-65537")
def single_read_instead_of_read_full() -> None:
    def finish(self: framing.Decoder, payload: framing.Payload) -> None:
        self.messages.append(payload.close())
        self.payload = None

    framing.Decoder.finish = finish


@fault("ends/close-frame-before-the-end")
def close_frame_as_a_message() -> None:
    def refuse(self: framing.Decoder, length: int) -> None:
        self.messages.append(b"")

    framing.Decoder.refuse = refuse


@fault("framing/encode/close-frame")
def no_close_frame() -> None:
    sender.CLOSE_FRAME = b""


@fault("framing/decode/zero-byte-payload")
def drops_tails_that_look_empty() -> None:
    change_messages(lambda message: message.rstrip(b"\0") or b"?")


@fault("framing/receive/size-1")
def text_with_a_newline() -> None:
    change_messages(lambda message: message + b"\n")


def change_messages(change: Callable[[bytes], bytes]) -> None:
    real = endpoint.Endpoint.read

    async def read(self: endpoint.Endpoint) -> bytes | None:
        message = await real(self)
        return message if message is None else change(message)

    endpoint.Endpoint.read = read


def set_limit(change: Callable[[int], int]) -> None:
    real = framing.Decoder.__init__

    def init(self: framing.Decoder, size: int) -> None:
        real(self, change(size))

    framing.Decoder.__init__ = init


@fault("limits/receive/one-over")
def no_limit() -> None:
    set_limit(lambda _: framing.MAX_LENGTH)


@fault("limits/receive/exact")
def limit_too_small_by_one() -> None:
    set_limit(lambda size: size - 1)


@fault("limits/receive/one-over")
def limit_too_large_by_one() -> None:
    set_limit(lambda size: size + 1)


@fault("limits/receive/header-takes-no-memory")
def memory_by_the_header() -> None:
    framing.RESERVE = 2**32


@fault("limits/send/empty")
def sends_empty_messages() -> None:
    sender.message_bytes = lambda data, limit: bytes(data)


@fault("limits/send/one-over")
def sends_more_than_the_limit() -> None:
    real = framing.message_bytes
    sender.message_bytes = lambda data, limit: real(data, framing.MAX_LENGTH)


@fault("limits/send/default")
def no_limit_unless_told() -> None:
    change = sender.message_bytes
    sender.message_bytes = lambda data, limit: change(
        data, limit if limit < framing.DEFAULT_MAX_MESSAGE_SIZE else framing.MAX_LENGTH
    )


@fault("limits/receive/writes-after-too-large")
def writes_after_too_large() -> None:
    def on(self: SessionState, event: Event, error: Any = None) -> None:
        real(self, event, error)
        if event is Event.OVER_LIMIT:
            self.phase, self.write_error = Phase.ENDED, None

    real = SessionState.on
    SessionState.on = on


@fault("limits/send/refused-once-writing-is-over")
def looks_at_a_message_only_if_it_can_write() -> None:
    def write(self: sender.Sender, data: bytes) -> Any:
        if self.state.write_error is not None:
            raise self.state.refusal()
        return real(self, data)

    real = sender.Sender.write
    sender.Sender.write = write


@fault("limits/send/refused-after-close")
def takes_an_empty_message_after_close() -> None:
    def write(self: sender.Sender, data: bytes) -> Any:
        return real(self, data) if data or self.state.write_error is None else None

    real = sender.Sender.write
    sender.Sender.write = write


@fault("limits/receive/write-that-waits")
def tells_no_writer_that_waits() -> None:
    real = sender.Sender.follow_state

    def follow_state(self: sender.Sender) -> None:
        if self.state.phase is not Phase.REFUSED:
            real(self)

    sender.Sender.follow_state = follow_state


@fault("limits/receive/header-takes-no-memory")
def eight_mebibytes_by_the_header() -> None:
    framing.RESERVE = 8 * 2**20
    real = framing.Payload.reserve

    def reserve(self: framing.Payload) -> None:
        real(self)
        self.room[:] = bytes(len(self.room))

    framing.Payload.reserve = reserve
