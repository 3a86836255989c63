"""The Python client as a testee: ``python -m ipc_channel.conformance.python_testee``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Coroutine
from itertools import cycle, islice
from typing import Any

from ipc_channel import (
    ConnectInProgressError,
    IPCChannelClient,
    IPCChannelError,
    NotConnectedError,
    from_environment,
    make_ipc_channel_client,
)
from ipc_channel.transports.registry import all_types

Told = dict[str, Any]
ABILITIES = ["cancel", "concurrent", "max_message_size", "linger"]


class Testee:
    """Does what it is told, one task a request."""

    def __init__(self) -> None:
        self._channel: IPCChannelClient | None = None
        self._connecting: asyncio.Task[Any] | None = None
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve the requests on the standard input until it ends."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
        )
        say(
            language=1,
            name="Python ipc-channel",
            version=sys.version.split()[0],
            can=[one.name for one in all_types()] + ABILITIES,
        )
        while line := await reader.readline():
            told = json.loads(line)
            task = loop.create_task(self._serve(told))
            self.tasks[told["id"]] = task
            await asyncio.sleep(0)  # so that requests begin in their order
        for task in self.tasks.values():
            task.cancel()
        if self._channel is not None:
            await self._channel.close()

    async def _serve(self, told: Told) -> None:
        channel = self._channel  # a connect may put another in its place meanwhile
        do: Coroutine[Any, Any, Told] = getattr(self, f"do_{told['do']}")(told)
        try:
            answer = await do
        except asyncio.CancelledError:
            answer = {"error": "cancelled"}
        except IPCChannelError as error:
            answer = {"error": error.code, "text": str(error)}
            if told["do"] in ("read", "drain", "echo") and (end := _end(channel)):
                answer["end"] = end
        except (TypeError, ValueError) as error:
            if told["do"] != "connect":
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
        before, self._channel = self._channel, None
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
                self._channel = channel
                return {}
        finally:
            if self._channel is not channel:
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
        for size in islice(cycle(sizes), told.get("count", len(sizes))):
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

    async def do_cancel(self, told: Told) -> Told:
        task = self.tasks.get(told["of"])
        if task is not None:
            task.cancel()
        return {}

    async def do_close(self, told: Told) -> Told:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._channel is not None:
            await self._channel.close()
        return {}

    def _connected(self) -> IPCChannelClient:
        if self._channel is None:
            raise NotConnectedError("told to use a channel before connecting")
        return self._channel


def _end(channel: IPCChannelClient | None) -> str | None:
    """Return how the session has ended, if it has."""
    end = None if channel is None else channel.end_reason
    return None if end is None else str(end)


def say(**what: Any) -> None:
    """Print one answer."""
    print(json.dumps(what), flush=True)


def main() -> None:
    asyncio.run(Testee().run())


if __name__ == "__main__":
    main()
