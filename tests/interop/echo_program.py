"""A program written against ``aea.helpers.pipe``; only its import is a parameter.

    echo_program.py MODULE CLIENT_CLASS IN OUT
    echo_program.py MODULE SERVER_CLASS

Echoes every message until the end. A server first prints its two paths.
"""

import asyncio
import importlib
import sys

ipc = importlib.import_module(sys.argv[1])


async def main() -> None:
    channel = getattr(ipc, sys.argv[2])(*sys.argv[3:])
    if len(sys.argv) == 3:
        print(channel.in_path, channel.out_path, flush=True)
    if not await channel.connect(timeout=ipc.PIPE_CONN_TIMEOUT):
        sys.exit("not connected")
    while True:
        message = await channel.read()
        if message is None:
            break
        await channel.write(message)
    await channel.close()


asyncio.run(main())
