"""gRPC on asyncio over a Unix socket: calls for round trips, streams for one way.

The peer is the server. A message is the bytes of a request or a response, with
no serialization in between.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from benchmarks.async_end import HELLO, bursts, check, check_total, report
from benchmarks.control import await_go, orders, say

_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def _url(directory: str) -> str:
    return f"unix:{directory}/grpc"


class Work:
    """The workloads over one gRPC channel."""

    def __init__(self, channel: Any) -> None:
        self._echo = channel.unary_unary("/b/echo")
        self._cpu = channel.unary_unary("/b/cpu")
        self._sink = channel.stream_unary("/b/sink")
        self._both = channel.stream_stream("/b/both")
        self._echoes = channel.stream_stream("/b/echoes")

    async def hello(self) -> None:
        check(HELLO, await self._echo(HELLO, wait_for_ready=True))

    async def end(self) -> None:
        """Leave nothing open but the channel."""

    async def round_trip(self, count: int, payload: bytes) -> int:
        echo = self._echo
        sent = message = payload
        start = time.perf_counter_ns()
        for burst in bursts(count, payload):
            for sent in burst:
                message = await echo(sent)
                if not message or len(message) != len(sent) or message[0] != sent[0]:
                    check(sent, message)
            check(sent, message)
        return time.perf_counter_ns() - start

    async def one_way(self, count: int, payload: bytes) -> int:
        start = time.perf_counter_ns()
        call = self._sink()
        await _send(call.write, count, payload)
        await call.done_writing()
        received = int(await call)
        spent = time.perf_counter_ns() - start
        check_total(count * len(payload), received)
        return spent

    async def both(self, count: int, payload: bytes) -> int:
        metadata = (("count", str(count)), ("size", str(len(payload))))
        start = time.perf_counter_ns()
        call = self._both(metadata=metadata)
        sending = asyncio.create_task(_send(call.write, count, payload))
        got = await _receive(call.read, count)
        await sending
        await call.done_writing()
        received = int(await call.read())
        spent = time.perf_counter_ns() - start
        check_total(2 * count * len(payload), received + got)
        return spent

    async def channels(self, count: int, payload: bytes) -> int:
        raise NotImplementedError

    async def peer_cpu(self) -> int:
        return int(await self._cpu(b"cpu"))


async def _send(
    write: Callable[[bytes], Awaitable[object]], count: int, payload: bytes
) -> None:
    for _ in range(count):
        await write(payload)


async def _receive(read: Callable[[], Awaitable[bytes]], count: int) -> int:
    received = 0
    for _ in range(count):
        received += len(await read())
    return received


class StreamWork(Work):
    """The same, but one stream of both ways for all round trips."""

    async def hello(self) -> None:
        self._stream = self._echoes(wait_for_ready=True)
        self._echo = self._echo_over_stream
        check(HELLO, await self._echo(HELLO))

    async def _echo_over_stream(self, message: bytes) -> Any:
        await self._stream.write(message)
        return await self._stream.read()

    async def end(self) -> None:
        await self._stream.done_writing()
        await self._stream.read()


async def driver(directory: str, kind: type[Work] = Work) -> None:
    """Connect at "go", and do what the harness orders."""
    say(address=[directory, directory])
    await_go()
    async with grpc.aio.insecure_channel(_url(directory), options=_OPTIONS) as channel:
        work = kind(channel)
        await work.hello()
        say(first=time.monotonic_ns())
        for order in orders():
            await report(work, order)
        await work.end()


async def _serve_echo(request: bytes, context: Any) -> bytes:
    del context
    return request


async def _serve_echoes(requests: AsyncIterator[bytes], context: Any) -> None:
    del requests
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message)


async def _serve_cpu(request: bytes, context: Any) -> bytes:
    del request, context
    return b"%d" % time.process_time_ns()


async def _serve_sink(requests: AsyncIterator[bytes], context: Any) -> bytes:
    del context
    received = 0
    async for message in requests:
        received += len(message)
    return b"%d" % received


async def _serve_both(requests: AsyncIterator[bytes], context: Any) -> None:
    del requests
    numbers = dict(context.invocation_metadata())
    count, payload = int(numbers["count"]), os.urandom(int(numbers["size"]))
    sending = asyncio.create_task(_send(context.write, count, payload))
    received = await _receive(context.read, count)
    await sending
    await context.write(b"%d" % received)


_HANDLERS = {
    "echo": grpc.unary_unary_rpc_method_handler(_serve_echo),
    "echoes": grpc.stream_stream_rpc_method_handler(_serve_echoes),
    "cpu": grpc.unary_unary_rpc_method_handler(_serve_cpu),
    "sink": grpc.stream_unary_rpc_method_handler(_serve_sink),
    "both": grpc.stream_stream_rpc_method_handler(_serve_both),
}


async def peer(directory: str) -> None:
    """Serve from before "go" until stdin ends: a server cannot tell that its client left."""
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("b", _HANDLERS),))
    server.add_insecure_port(_url(directory))
    await server.start()
    say(address=[])
    await asyncio.to_thread(await_go)
    await asyncio.to_thread(_await_end)
    await server.stop(None)


def _await_end() -> None:
    for _ in orders():
        pass
