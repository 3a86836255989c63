"""A server in the way of gunicorn's preload: it makes a channel, forks, and its workers serve.

    prefork_server.py TRANSPORT COMMAND...

Each worker talks to a helper of its own, and tries what the master has loaded: a
channel that the master uses, and one that no process has used. The master adds up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import traceback
import warnings
from typing import Any

from ipc_channel import Helper, WrongProcessError, make_ipc_channel

WORKERS = 4
transport: Any = sys.argv[1]
command = sys.argv[2:]
unused = Helper(command, make_ipc_channel(transport=transport))
used = Helper(command, make_ipc_channel(transport=transport))


async def exchange(helper: Helper, name: str) -> int:
    """Send messages of our own at once; return how many answers were ours."""
    channel = helper.channel
    messages = [f"{name} {number}".encode() for number in range(200)]
    for message in messages:
        await channel.write(message)
    return sum([await channel.read() == message for message in messages])


async def refused(use: Any) -> int:
    try:
        await use()
    except WrongProcessError:
        return 1
    return 0


async def work(name: str) -> tuple[int, int]:
    refusals = await refused(unused.start) + await refused(lambda: exchange(used, name))
    async with Helper(command, make_ipc_channel(transport=transport)) as channel:
        del channel
    helper = Helper(command, make_ipc_channel(transport=transport))
    async with helper:
        return await exchange(helper, name), refusals


def run_worker(name: str, report: int) -> None:
    try:
        answers, refusals = asyncio.run(work(name))
        os.write(report, b"%d %d\n" % (answers, refusals))
    except BaseException:  # noqa: BLE001  # this is all that is told of it
        traceback.print_exc()
    finally:
        os._exit(0)


async def lead() -> None:
    reader, report = os.pipe()
    async with used:
        children = []
        for number in range(WORKERS):
            if (child := os.fork()) == 0:
                run_worker(f"worker {number}", report)
            children.append(child)
        os.close(report)
        assert await exchange(used, "master") == 200
        for child in children:
            await asyncio.to_thread(os.waitpid, child, 0)
    with open(reader, "rb") as pipe:
        reports = [list(map(int, line.split())) for line in pipe]
    answers, refusals = (sum(column) for column in zip(*reports, strict=True))
    print(f"{len(reports)} workers, {answers} answers, {refusals} refusals")
    await unused.channel.close()


# A slow machine is no fault, of which asyncio tells in development mode.
logging.getLogger("asyncio").setLevel(logging.ERROR)
warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks
asyncio.run(lead())
