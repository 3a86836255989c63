"""A pool of helpers for tests, and what its helpers do."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import raw
from ipc_channel import Helper, HelperPool

# Answers with its number and the payload. "sleep", "hang", "die", "fail" and "grow" do that.
HELPER = """
import asyncio, os, time
from ipc_channel import RequestError, run_helper, serve
kept = []

async def handler(payload):
    command, _, rest = payload.decode().partition(" ")
    if command == "sleep":
        await asyncio.sleep(float(rest))
    elif command == "hang":
        time.sleep(1000)
    elif command == "die":
        os._exit(3)
    elif command == "once":
        try:
            os.close(os.open(rest, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return b"again"
        os._exit(3)
    elif command == "fail":
        raise RequestError("told to", code="told")
    elif command == "grow":
        kept.append(bytes(int(rest)).replace(b"\\0", b"x"))
    return b"%d %s" % (os.getpid(), payload)

async def main(channel):
    await serve(channel, handler)

run_helper(main)
"""
COMMAND = [sys.executable, "-c", HELPER]


def pool(size: int = 2, **options: Any) -> HelperPool:
    defaults: dict[str, Any] = {"backoff": (0.01, 0.02), "restarts": None}
    return HelperPool(quiet, size=size, **(defaults | options))


def quiet() -> Helper:
    return Helper(COMMAND, stderr="discard", grace=0.2, timeout=raw.PATIENCE)


def pid_of(answer: bytes) -> int:
    return int(answer.split()[0])


async def connected(pool: HelperPool, count: int) -> list[int]:
    """Wait until so many helpers take calls, and return their numbers."""
    found: set[int] = set()
    while len(found) < count:
        calls = [pool.call(b"sleep 0.01") for _ in range(4 * count)]
        found |= set(map(pid_of, await asyncio.gather(*calls)))
    return sorted(found)
