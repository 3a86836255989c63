"""The Python client as a testee: ``python -m ipc_channel.conformance.python_testee``."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ipc_channel import (
    ConnectInProgressError,
    IPCChannelClient,
    IPCChannelError,
    NotConnectedError,
    RequestChannel,
    from_environment,
    make_ipc_channel_client,
)
from ipc_channel.conformance.request_handler import handle
from ipc_channel.transports.registry import usable_types

Told = dict[str, Any]
ABILITIES = [
    "cancel",
    "concurrent",
    "max_message_size",
    "linger",
    "peer_user",
    "requests",
]
READS = ("read", "drain", "echo", "serve")  # what learns how the session has ended
MAKE = ("connect", "call", "serve")  # what makes something of options, which may be bad


class Testee:
    """Handles requests, each in a task of its own."""

    def __init__(self) -> None:
        self.channel: IPCChannelClient | None = None
        self._requests: RequestChannel | None = None  # over that channel
        self._connecting: asyncio.Task[Any] | None = None
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve the requests on the standard input until it ends."""
        loop = asyncio.get_running_loop()
        next_line = await _standard_input(loop)
        say(
            language=1,
            name="Python ipc-channel",
            version=sys.version.split()[0],
            can=[one.name for one in usable_types()] + ABILITIES,
        )
        while line := await next_line():
            told = json.loads(line)
            task = loop.create_task(self._serve(told))
            self.tasks[told["id"]] = task
            await asyncio.sleep(0)  # so that requests begin in order
        for task in self.tasks.values():
            task.cancel()
        if self.channel is not None:
            await self.channel.close()

    async def _serve(self, told: Told) -> None:
        channel = self.channel  # a connect may replace it meanwhile
        do: Coroutine[Any, Any, Told] = getattr(self, f"do_{told['do']}")(told)
        try:
            answer = await do
        except asyncio.CancelledError:
            answer = {"error": "cancelled"}
        except IPCChannelError as error:
            answer = {"error": error.code, "text": str(error)}
            if told["do"] in READS and (end := _end(channel)):
                answer["end"] = end
        except (TypeError, ValueError) as error:
            if told["do"] not in MAKE:
                raise
            answer = {"error": "bad-option", "text": str(error)}
        except OSError as error:
            answer = {"error": "other", "text": str(error)}
        finally:
            self.tasks.pop(told["id"], None)
        say(id=told["id"], **answer)

    async def do_connect(self, told: Told) -> Told:
        if self._connecting is not None:
            raise ConnectInProgressError("another connect waits")
        self._connecting = asyncio.current_task()
        before, self.channel, self._requests = self.channel, None, None
        try:
            if before is not None:
                await before.close()
            return await self._connect(told)
        finally:
            self._connecting = None

    async def _connect(self, told: Told) -> Told:
        options = {key: told[key] for key in ("max_message_size", "linger") if key in told}
        paths = (told["in"], told["out"]) if "in" in told else from_environment()
        channel = make_ipc_channel_client(*paths, **options)
        try:
            if await channel.connect(told.get("timeout", 10)):
                self.channel = channel
                return {}
        finally:
            if self.channel is not channel:
                await channel.close()
        return {"error": "timeout", "text": str(channel.last_exception)}

    async def do_read(self, told: Told) -> Told:
        channel = self._connected()
        message = await channel.read()
        if message is None:
            return {"end": _end(channel)}
        digest = hashlib.sha256(message).hexdigest()
        return {"message": {"size": len(message), "sha256": digest}}

    async def do_write(self, told: Told) -> Told:
        pattern, sizes = bytes.fromhex(told["pattern"]), told["sizes"]
        for size in itertools.islice(itertools.cycle(sizes), told.get("count", len(sizes))):
            message = (pattern * (size // len(pattern) + 1))[:size]
            await self._connected().write(message)
        return {}

    async def do_drain(self, told: Told) -> Told:
        channel, count, digest = self._connected(), 0, hashlib.sha256()
        async for message in channel:
            count += 1
            digest.update(len(message).to_bytes(4, "big") + message)
        return {"messages": count, "sha256": digest.hexdigest(), "end": _end(channel)}

    async def do_echo(self, told: Told) -> Told:
        channel, count = self._connected(), 0
        async for message in channel:
            await channel.write(message)
            count += 1
        return {"messages": count, "end": _end(channel)}

    async def do_call(self, told: Told) -> Told:
        answer = await self.requests().call(bytes.fromhex(told["payload"]))
        return {"payload": answer.hex()}

    async def do_serve(self, told: Told) -> Told:
        channel, requests, answered = self.channel, self.requests(), 0

        async def count(payload: bytes) -> bytes:
            nonlocal answered
            try:
                return await handle(payload, requests.call)
            finally:
                answered += 1

        await requests.serve(count, concurrency=told.get("concurrency"))
        return {"answered": answered, "end": _end(channel)}

    async def do_cancel(self, told: Told) -> Told:
        task = self.tasks.get(told["of"])
        if task is not None:
            task.cancel()
        return {}

    async def do_close(self, told: Told) -> Told:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self.channel is not None:
            await self.channel.close()
        return {}

    def requests(self) -> RequestChannel:
        """Return the requests of the channel, which the first ``call`` or ``serve`` makes."""
        channel = self._connected()
        if self._requests is None:
            self._requests = RequestChannel(channel)
        return self._requests

    def _connected(self) -> IPCChannelClient:
        if self.channel is None:
            raise NotConnectedError("told to use a channel before connecting")
        return self.channel


async def _standard_input(
    loop: asyncio.AbstractEventLoop,
) -> Callable[[], Awaitable[bytes]]:
    """Return what reads a line of the standard input; b"" is its end."""
    if sys.platform == "win32":
        # Its loops read only from pipes that were made for overlapped operations.
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        threading.Thread(target=_read_lines, args=(loop, lines), daemon=True).start()
        return lines.get
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    return reader.readline


def _read_lines(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has been closed since
        for line in itertools.chain(sys.stdin.buffer, (b"",)):
            loop.call_soon_threadsafe(lines.put_nowait, line)


def _end(channel: IPCChannelClient | None) -> str | None:
    """Return the end reason of the session, or None."""
    end = None if channel is None else channel.end_reason
    return None if end is None else str(end)


def say(**what: Any) -> None:
    """Print one answer."""
    print(json.dumps(what), flush=True)


def main() -> None:
    asyncio.run(Testee().run())


if __name__ == "__main__":
    main()
