"""Faults of the flow of messages: bounds, the order of bytes, and cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

from conformance.faults import fault
from ipc_channel.aio import receiver, sender
from ipc_channel.conformance.python_testee import Testee, Told
from ipc_channel.protocol import framing
from ipc_channel.transports import pipe_stream


@fault("flow/read-ahead-is-bounded")
def reads_ahead_without_bounds() -> None:
    receiver.READ_AHEAD = 2**40


@fault("flow/write-waits")
def queues_without_bounds() -> None:
    sender.WRITE_AHEAD = 2**40


@fault("flow/concurrent-writers")
def interleaves_concurrent_writes() -> None:
    async def write(self: sender.Sender, payload: bytes) -> None:
        for part in (framing.encode_header(len(payload)), payload):
            self.queue.append(part)
            self.size += len(part)
            self.flush()
            await asyncio.sleep(0.01)

    sender.Sender.write = write


@fault("cancel/write/in-parts")
@fault("flow/write-in-parts")
def loses_a_single_byte_that_is_left() -> None:
    real = pipe_stream.PipeStream.write

    def write(self: pipe_stream.PipeStream, buffers: Any) -> int:
        size = sum(map(len, buffers))
        return size if size - 1 == (sent := real(self, buffers)) else sent

    pipe_stream.PipeStream.write = write


@fault("cancel/read/inside-payload")
def cancelled_read_loses_its_place() -> None:
    real = Testee.do_read
    decoders: list[framing.Decoder] = []
    init = framing.Decoder.__init__

    def begin(self: framing.Decoder, *args: Any) -> None:
        init(self, *args)
        decoders.append(self)

    framing.Decoder.__init__ = begin

    async def read(self: Testee, told: Told) -> Told:
        try:
            return await real(self, told)
        except asyncio.CancelledError:
            decoders[-1].forget()
            raise

    Testee.do_read = read


@fault("cancel/read/many")
def cancelled_read_loses_a_message() -> None:
    real = Testee.do_read

    async def read(self: Testee, told: Told) -> Told:
        reading = asyncio.ensure_future(real(self, told))
        return await asyncio.shield(reading)

    Testee.do_read = read


@fault("flow/thousands-of-writers")
def drops_what_is_over_a_thousand_buffers() -> None:
    """As a client does that gives them to the system in one call, and ignores the error."""
    real = Testee.do_write

    async def write(self: Testee, told: Told) -> Told:
        return {} if len(self.tasks) > 1024 else await real(self, told)

    Testee.do_write = write


@fault("cancel/write/then-close")
def leaves_a_cancelled_frame_undone_at_close() -> None:
    real = Testee.do_close

    async def close(self: Testee, told: Told) -> Told:
        if self.channel is not None and self.channel.connected:
            self.channel.abort()
        return await real(self, told)

    Testee.do_close = close
