"""A service that forks a worker while a channel is open, for tests to end at will.

    forking_service.py TRANSPORT LOOP WAY LIFELINE [COMMAND...]

LOOP is asyncio or uvloop. WAY is how the worker is forked: os (in a turn of the
loop), thread (in another thread) or multiprocessing. The worker lives until the
pipe whose reading end is LIFELINE is closed at its other end. With a COMMAND the
peer is a helper; without one the service prints the paths for a client. Then it
prints the ids of the worker and the helper. On a line of input it closes the
channel, and prints another line.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import warnings
from typing import Any

import uvloop

from ipc_channel import Helper, IPCChannel, make_ipc_channel

transport, loop, way, lifeline, *command = sys.argv[1:]


def work(ready: int) -> None:
    os.write(ready, b"x")
    os.read(int(lifeline), 1)


def fork_with_os(ready: int) -> int:
    child = os.fork()
    if child == 0:
        work(ready)
        os._exit(0)
    return child


def fork_with_multiprocessing(ready: int) -> int:
    worker = multiprocessing.get_context("fork").Process(target=work, args=(ready,))
    worker.start()
    assert worker.pid
    return worker.pid


async def fork() -> int:
    """Fork a worker; return once it runs, and so has left what is not its own."""
    reader, ready = os.pipe()
    if way == "thread":
        child = await asyncio.to_thread(fork_with_os, ready)
    else:
        child = (fork_with_os if way == "os" else fork_with_multiprocessing)(ready)
    await asyncio.to_thread(os.read, reader, 1)
    return child


async def serve() -> None:
    server: Any = transport
    channel: IPCChannel = make_ipc_channel(transport=server)
    helper = None
    if command:
        helper = Helper(command, channel, timeout=60)
        await helper.start()
        await channel.write(b"hello")
        assert await channel.read() == b"hello"
    else:
        print(json.dumps([channel.out_path, channel.in_path]), flush=True)
        assert await channel.connect(60)
    worker = await fork()
    print(json.dumps([worker, helper and helper.process.pid]), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await channel.close()
    print("closed", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks
with asyncio.Runner(
    loop_factory=uvloop.new_event_loop if loop == "uvloop" else None
) as run:
    run.run(serve())
