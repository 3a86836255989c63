"""Ways to have another process answer a call, each with one helper in Python."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import multiprocessing
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

from benchmarks.request_helper import echo
from ipc_channel import Helper, HelperPool, IPCChannel, RequestChannel, make_ipc_channel

Call = Callable[[bytes], Awaitable[bytes | None]]
LINE = 2**20  # bytes of the longest line of JSON


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.request_helper", *arguments]


def helper(kind: str) -> Helper:
    return Helper(command(kind), make_ipc_channel(transport="unix"))


@contextlib.asynccontextmanager
async def messages(_: str) -> AsyncIterator[Messages]:
    """A message, and its echo: what a request costs at least."""
    async with helper("messages") as channel:
        yield Messages(channel)


class Messages:
    """Calls without ids, which only one task can do at a time."""

    def __init__(self, channel: IPCChannel) -> None:
        self._channel = channel

    async def __call__(self, payload: bytes) -> bytes | None:
        await self._channel.write(payload)
        return await self._channel.read()

    async def at_once(self, count: int, payload: bytes) -> list[bytes | None]:
        """Do as many as ``count`` at once: the echoes come in order."""

        async def send() -> None:
            for _ in range(count):
                await self._channel.write(payload)

        sending = asyncio.create_task(send())
        answers = [await self._channel.read() for _ in range(count)]
        await sending
        return answers


@contextlib.asynccontextmanager
async def requests(_: str) -> AsyncIterator[Call]:
    async with helper("requests") as channel:
        yield RequestChannel(channel).call


@contextlib.asynccontextmanager
async def pool(_: str) -> AsyncIterator[Call]:
    make = functools.partial(helper, "requests")
    async with HelperPool(make, size=1, calls_per_helper=1000) as helpers:
        yield helpers.call


@contextlib.asynccontextmanager
async def grpc(directory: str) -> AsyncIterator[Call]:
    """Unary calls of grpc.aio over a Unix socket, without serialization."""
    import grpc.aio  # noqa: PLC0415  # has threads, which others need not

    address = f"unix:{directory}/grpc"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command("grpc", address), stdin=pipe)
    assert process.stdin is not None
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            unary = channel.unary_unary("/b/echo")
            await unary(b"x", wait_for_ready=True)
            yield unary
    finally:
        process.stdin.close()
        await process.wait()


@contextlib.asynccontextmanager
async def executor(_: str) -> AsyncIterator[Call]:
    """ProcessPoolExecutor with one worker, and pickles."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as workers:
        yield lambda payload: loop.run_in_executor(workers, echo, payload)


@contextlib.asynccontextmanager
async def json_rpc(_: str) -> AsyncIterator[Call]:
    """JSON-RPC 2.0 over stdin and stdout, a line a message; payloads are in base64.

    Its helper has no event loop, and does one request after the other.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command("json"), stdin=pipe, stdout=pipe, limit=LINE
    )
    assert process.stdin is not None
    lines = Lines(process.stdin)
    reading = asyncio.create_task(lines.read(process.stdout))
    try:
        yield lines.call
    finally:
        process.stdin.close()
        await reading
        await process.wait()


class Lines:
    """A client of JSON-RPC by hand, as small as it can be."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._ids = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    async def call(self, payload: bytes) -> bytes:
        number, future = next(self._ids), asyncio.get_running_loop().create_future()
        self._open[number] = future
        params = [base64.b64encode(payload).decode()]
        request = {"jsonrpc": "2.0", "id": number, "method": "echo", "params": params}
        self._writer.write(json.dumps(request).encode() + b"\n")
        await self._writer.drain()
        return base64.b64decode(await future)

    async def read(self, reader: asyncio.StreamReader | None) -> None:
        assert reader is not None
        while line := await reader.readline():
            reply = json.loads(line)
            self._open.pop(reply["id"]).set_result(reply["result"])


WAYS: dict[str, Callable[[str], AbstractAsyncContextManager[Call]]] = {
    "requests": requests,
    "pool of one": pool,
    "messages": messages,
    "gRPC, unary": grpc,
    "ProcessPoolExecutor": executor,
    "JSON-RPC over stdio": json_rpc,
}
"""Each gets a temporary directory, and gives what calls."""
