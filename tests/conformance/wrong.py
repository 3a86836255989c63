"""The Python testee with one thing made wrong: ``python wrong.py FAULT``.

Each fault is one that clients have, or could. The suite has to find it. What is
set here is set where the library does not expect it: types are not checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipc_channel import (
    EndReason,
    IPCChannelClient,
    TruncatedError,
    endpoint,
    framing,
    make_ipc_channel_client,
    named_pipe,
    pipe_files,
    pipe_stream,
    receiver,
    sender,
    session,
)
from ipc_channel.conformance import python_testee
from ipc_channel.conformance.python_testee import Testee, Told

sys.path.insert(0, str(Path(__file__).parents[1]))
from conformance import wrong_closing, wrong_connecting
from conformance.faults import FAULTS, fault

__all__ = ["FAULTS", "wrong_closing", "wrong_connecting"]


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
    framing._header = header
    sender.encode_header = header.pack


# --- Framing


@fault("framing/encode/size-256")
def little_endian_length() -> None:
    set_header(Header("<I"))


@fault("framing/encode/size-1")
def length_counts_itself() -> None:
    set_header(Header(">I", 4))


@fault("limits/receive/unsigned")
def signed_length() -> None:
    set_header(Header(">i"))
    real = framing.Decoder._refuse

    def refuse(self: framing.Decoder, length: int) -> None:
        if length >= 0:
            real(self, length)

    framing.Decoder._refuse = refuse


@fault("framing/receive/size-65537")
def single_read_instead_of_read_full() -> None:
    def finish(self: framing.Decoder, payload: framing.Payload) -> None:
        self.messages.append(payload.close())
        self.payload = None

    framing.Decoder._finish = finish


@fault("ends/close-frame-before-the-end")
def close_frame_as_a_message() -> None:
    def refuse(self: framing.Decoder, length: int) -> None:
        self.messages.append(b"")

    framing.Decoder._refuse = refuse


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


# --- Limits


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
    framing._RESERVE = 2**32


@fault("limits/send/empty")
def sends_empty_messages() -> None:
    sender.message_bytes = lambda data, limit: bytes(data)


@fault("limits/send/one-over")
def sends_more_than_the_limit() -> None:
    real = framing.message_bytes
    sender.message_bytes = lambda data, limit: real(data, framing.MAX_LENGTH)


# --- Ends


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
    real = framing.Decoder._refuse

    def refuse(self: framing.Decoder, length: int) -> None:
        if length:
            real(self, length)

    framing.Decoder._refuse = refuse


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


# --- Flow


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
            self._queue.append(part)
            self._size += len(part)
            self._flush()
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


# --- Cancellation


@fault("cancel/read/inside-payload")
def cancelled_read_loses_its_place() -> None:
    real = Testee.do_read

    async def read(self: Testee, told: Told) -> Told:
        try:
            return await real(self, told)
        except asyncio.CancelledError:
            session_ = self._connected()._session
            session_.receiver._decoder.forget()
            raise

    Testee.do_read = read


@fault("cancel/read/many")
def cancelled_read_loses_a_message() -> None:
    real = Testee.do_read

    async def read(self: Testee, told: Told) -> Told:
        reading = asyncio.ensure_future(real(self, told))
        return await asyncio.shield(reading)

    Testee.do_read = read


@fault("cancel/connect")
def cancelled_connect_leaves_something_open() -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        kept = os.dup(0)
        answer = await real(self, told)
        os.close(kept)
        return answer

    Testee.do_connect = connect


# --- Connecting


@fault("connect/tcp/one-connection")
def connects_twice() -> None:
    real = Testee.do_connect
    kept = []

    async def connect(self: Testee, told: Told) -> Told:
        kept.append(socket.create_connection(("127.0.0.1", int(told["in"]))))
        return await real(self, told)

    Testee.do_connect = connect


@fault("connect/pipes/came-and-went-before")
def drops_who_came_and_went() -> None:
    named_pipe._Opening._has_left = lambda self: False


@fault("connect/pipes/one-is-missing")
def refuses_a_missing_pipe() -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        there = [os.path.exists(told[key]) for key in ("in", "out")]
        if any(there) and not all(there):
            return {"error": "bad-rendezvous"}
        return await real(self, told)

    Testee.do_connect = connect


@fault("connect/pipes/half-a-server")
def counts_half_a_server() -> None:
    named_pipe._Opening._has_writer = lambda self: True


@fault("connect/tcp/stays-until-accepted")
def leaves_before_it_is_let_in() -> None:
    async def finish(self: session.Session, linger: float) -> None:
        self.sender.close()

    session.Session._finish = finish


@fault("connect/pipes/passer-by-after")
def passer_by_is_the_end() -> None:
    named_pipe._Opening._has_writer = lambda self: True
    pipe_stream.PipeStream._peer_gone = lambda self: True


@fault("connect/timeout")
def ignores_its_timeout() -> None:
    set_timeout(lambda timeout: 3600)


@fault("connect/timeout")
def gives_up_early() -> None:
    set_timeout(lambda timeout: timeout / 2)


@fault("connect/client-first")
def does_not_wait() -> None:
    set_timeout(lambda timeout: 0)


def set_timeout(change: Callable[[float], float]) -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        return await real(self, told | {"timeout": change(told.get("timeout", 10))})

    Testee.do_connect = connect


@fault("connect/pipes/stale")
def blocks_in_open() -> None:
    def open_pipe(path: str, mode: int) -> int:
        try:
            return os.open(path, mode)
        except FileNotFoundError:
            return pipe_stream.NONE

    named_pipe._open_pipe = open_pipe
    set_timeout(lambda timeout: timeout or 1)


@fault("connect/refused/symlink-as-in")
def follows_symbolic_links() -> None:
    pipe_files.check_fifo = lambda path, status: None
    os.O_NOFOLLOW = 0


@fault("connect/refused/another-owner")
def trusts_every_owner() -> None:
    pipe_files.check_fifo = lambda path, status: None


@fault("connect/pipes/replaced")
def never_looks_at_the_names_again() -> None:
    named_pipe._Opening._is_elsewhere = lambda self: False


@fault("rendezvous/port-leading-zero")
def takes_any_number_for_a_port() -> None:
    change_strings(lambda text: str(int(text)) if text.isdigit() else text)


@fault("rendezvous/port-then-carriage-return")
def trims_strings() -> None:
    change_strings(str.strip)


def change_strings(change: Callable[[str], str]) -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        strings = {key: change(told[key]) for key in ("in", "out") if key in told}
        return await real(self, told | strings)

    Testee.do_connect = connect


@fault("environment/leads-to-the-server")
def takes_in_for_out() -> None:
    real = python_testee.from_environment

    def swapped() -> tuple[str, str]:
        in_, out = real()
        return out, in_

    python_testee.from_environment = swapped


# --- Closing


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


@fault("lifecycle/close/linger-counts-anew")
def lingers_once() -> None:
    real = session.Session._finish

    async def finish(self: session.Session, linger: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(real(self, linger), linger)

    session.Session._finish = finish


@fault("lifecycle/close/unread-input")
def closes_with_unread_input() -> None:
    async def finish(self: session.Session, linger: float) -> None:
        self.sender.close()
        time.sleep(0.05)  # noqa: ASYNC251  # it does not drain meanwhile

    session.Session._finish = finish


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
        kept = list(self._decoder.messages)
        drained = real(self)
        self._decoder.messages.extend(kept)
        return drained

    receiver.Receiver.discard = discard
    receiver.Receiver.stop = lambda self: self._stop(EndReason.LOCAL)


@fault("lifecycle/close/peer-that-talks-on")
def does_not_drain_after_its_shutdown() -> None:
    async def finish(self: session.Session, linger: float) -> None:
        await self.sender.close()
        self._stream.finish_writing()

    session.Session._finish = finish


@fault("ends/write/meets-a-reset")
def forgets_a_reset_that_a_write_met() -> None:
    def on_error(self: receiver.Receiver, cause: OSError) -> None:
        self._decoder.feed_eof()
        self._on_stream_end()

    receiver.Receiver._on_error = on_error


@fault("limits/send/default")
def no_limit_unless_told() -> None:
    change = sender.message_bytes
    sender.message_bytes = lambda data, limit: change(
        data, limit if limit < framing.DEFAULT_MAX_MESSAGE_SIZE else framing.MAX_LENGTH
    )


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


if __name__ == "__main__":
    FAULTS[sys.argv[1]][0]()
    asyncio.run(Testee().run())
