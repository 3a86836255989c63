"""Helpers of the tests with many messages and processes on Windows: a program each."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from ipc_channel import IPCChannelClient, from_environment, make_ipc_channel_client

IS_LONG = bool(os.environ.get("LONG_TESTS"))
"""Whether the tests are to run as long as before a release."""


def helper(*words: object) -> list[str]:
    """Return the command of a helper that does what is asked of :func:`main`."""
    return [sys.executable, str(Path(__file__)), *map(str, words)]


def mixed(seed: int, count: int) -> Iterator[bytes]:
    """Yield the messages of a seed: mostly small, now and then one of up to 1 MiB."""
    chance = random.Random(seed)
    for number in range(count):
        size = chance.choice((8, 100, 4096, 70_000)) if number % 500 else 2**20
        yield number.to_bytes(4, "big") + chance.randbytes(chance.randrange(1, size))


async def send_mixed(channel: IPCChannelClient, seed: str, count: str) -> None:
    for message in mixed(int(seed), int(count)):
        await channel.write(message)


async def echo(channel: IPCChannelClient) -> None:
    async for message in channel:
        await channel.write(message)


async def drain(channel: IPCChannelClient) -> None:
    async for _ in channel:
        pass


async def flood(channel: IPCChannelClient) -> None:
    """Send for ever, and drop what comes."""
    reading = asyncio.create_task(drain(channel))
    try:
        while True:
            await send_mixed(channel, "0", "1000")
    finally:
        reading.cancel()


_TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "send_mixed": send_mixed,
    "echo": echo,
    "flood": flood,
}


async def main(what: str, *words: str) -> None:
    channel = make_ipc_channel_client(*from_environment())
    async with channel:
        await _TASKS[what](channel, *words)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
