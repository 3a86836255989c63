"""A service that prints its rendezvous, writes messages, and waits to be killed.

``service.py TRANSPORT LOOP SESSION READS``: READS is how many messages it reads.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import islice
from typing import Any

import uvloop

from ipc_channel import IPCChannel, make_ipc_channel
from soak.messages import messages

COUNT = 300
"""Messages that it writes. The testee is asked for each one by itself."""
LOOPS: dict[str, Any] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def serve(transport: Any, session: str, reads: int) -> None:
    server = make_ipc_channel(transport=transport)
    print(server.out_path, server.in_path, sep="\n", flush=True)
    assert await server.connect(60)
    reading = asyncio.create_task(read(server, reads))
    for message in islice(messages(session), COUNT):
        await server.write(message)
    await reading
    await asyncio.sleep(3600)


async def read(server: IPCChannel, count: int) -> None:
    for _ in range(count):
        await server.read()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[2]]) as runner:
        runner.run(serve(sys.argv[1], sys.argv[3], int(sys.argv[4])))
