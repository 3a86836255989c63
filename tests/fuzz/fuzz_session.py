"""Coverage-guided fuzzing of a session with a hostile peer: ``nox -s fuzz``.

An input is a list of steps: the peer writes bytes, reads, ends its direction or
resets; our end reads, writes, or cancels one of both. Whatever the steps are,
what was read must be what the bytes say, and nothing but documented errors come.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import sys

import atheris

with atheris.instrument_imports(include=["ipc_channel"]):
    from ipc_channel.aio.session import Session
    from ipc_channel.aio.stream import Stream
    from ipc_channel.errors import IPCChannelError
    from ipc_channel.transports.pipe_stream import PipeStream
    from ipc_channel.transports.socket_stream import SocketStream

from fuzz_decoder import expected

LIMIT = 100_000
LOOP = asyncio.new_event_loop()
LOGGER = logging.getLogger("fuzz")
LISTENER = socket.create_server(("127.0.0.1", 0))
LOGGER.disabled = True


class Peer:
    """A non-blocking raw end."""

    def __init__(self, tcp: bool, loop: asyncio.AbstractEventLoop) -> None:
        self.sock: socket.socket | None = None
        self.stream: Stream
        self.sent = b""
        if tcp:
            self.sock = socket.create_connection(LISTENER.getsockname())
            self.stream = SocketStream(loop, LISTENER.accept()[0])
            self.in_fd = self.out_fd = self.sock.fileno()
        else:
            ours_in, self.out_fd = os.pipe()
            self.in_fd, ours_out = os.pipe()
            os.set_blocking(ours_in, False)
            os.set_blocking(ours_out, False)
            self.stream = PipeStream(loop, ours_in, ours_out, b"")
        os.set_blocking(self.in_fd, False)
        os.set_blocking(self.out_fd, False)

    def write(self, data: bytes) -> None:
        try:
            self.sent += data[: os.write(self.out_fd, data)]
        except OSError:
            pass

    def read(self) -> None:
        try:
            os.read(self.in_fd, 70_000)
        except OSError:
            pass

    def close(self, reset: bool = False) -> None:
        if self.in_fd < 0:
            return
        if self.sock is not None:
            if reset:
                linger = struct.pack("ii", 1, 0)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.sock.close()
        else:
            os.close(self.in_fd)
            os.close(self.out_fd)
        self.in_fd = self.out_fd = -1


async def attempt(coroutine: object, turns: int) -> bytes | None:
    """Run an operation for some turns, cancel it, and return what it gave."""
    task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]  # object: any awaitable
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    if task.cancelled():
        return None
    if (error := task.exception()) is not None:
        assert isinstance(error, IPCChannelError), error
        return None
    result: bytes | None = task.result()
    return result


async def write(session: Session, data: bytes) -> None:
    """Write: what is refused is so within the task, as for users of a channel."""
    waiting = session.sender.write(data)
    if waiting is not None:
        await waiting


async def play(steps: atheris.FuzzedDataProvider, peer: Peer) -> None:
    session = Session(peer.stream, max_message_size=LIMIT, linger=0, logger=LOGGER, name="")
    got = []
    for _ in range(30):
        step = steps.ConsumeIntInRange(0, 6)
        if step == 0:
            peer.write(steps.ConsumeBytes(steps.ConsumeIntInRange(0, 20)))
        elif step == 1:
            size = steps.ConsumeIntInRange(0, LIMIT)
            peer.write(size.to_bytes(4, "big") + bytes(size))
        elif step == 2:
            peer.read()
        elif step in (3, 4):
            message = await attempt(
                session.receiver.inbox.read(), steps.ConsumeIntInRange(0, 4)
            )
            if message is not None:
                got.append(message)
        elif step == 5:
            size = steps.ConsumeIntInRange(0, LIMIT + 1)
            await attempt(write(session, bytes(size)), steps.ConsumeIntInRange(0, 4))
        elif steps.ConsumeBool():
            peer.close(reset=steps.ConsumeBool())
    peer.close()
    while session.end_reason is None:
        message = await attempt(session.receiver.inbox.read(), 1)
        if message is not None:
            got.append(message)
    while session.queued:
        got.append(await session.receiver.inbox.read() or b"")
    messages, _ = expected(peer.sent, LIMIT)
    assert got == messages[: len(got)]
    # A reset may take away what had not been read; an end of stream may not.
    assert len(got) == len(messages) or session.end_reason == "reset"
    await session.close()
    assert session.closed


def check(data: bytes) -> None:
    steps = atheris.FuzzedDataProvider(data)
    LOOP.run_until_complete(play(steps, Peer(steps.ConsumeBool(), LOOP)))


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
