"""A service on Windows: exchanges messages with one helper that echoes or digests.

``python service.py echo COMMAND...`` starts the helper; without a command the service
prints its rendezvous, and a helper that something else starts connects to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys

from ipc_channel import EndReason, Helper, IPCChannel, make_ipc_channel
from ipc_channel.transports import tcp_listener

_PATIENCE = 60.0
_SIZES = (*range(1, 200), 4096, 65_535, 65_536, 2**20, 2**24)


async def main(kind: str, *command: str) -> None:
    if command:
        helper = Helper(command, timeout=_PATIENCE)
        async with helper as channel:
            await exchange(kind, channel)
        assert helper.process.returncode == 0, helper.process.returncode
        return
    # To Wine, a socket of a Linux process is nobody's. So this server, and no other
    # one of the tests, lets in whoever comes, as it does where no system tells.
    vars(tcp_listener)["tells_owners"] = lambda: False
    server = make_ipc_channel(transport="tcp")
    print(server.out_path, server.in_path, flush=True)
    assert await server.connect(_PATIENCE)
    await exchange(kind, server)
    await server.close()


async def exchange(kind: str, channel: IPCChannel) -> None:
    """Send messages, and compare the answers."""
    messages = [random.Random(size).randbytes(size) for size in _SIZES]

    async def send() -> None:
        for message in messages:
            await channel.write(message)

    sending = asyncio.create_task(send())
    for message in messages:
        answer = await asyncio.wait_for(channel.read(), _PATIENCE)
        digest = hashlib.sha256(message).hexdigest().encode()
        assert answer == (message if kind == "echo" else digest), len(message)
    await sending
    assert channel.end_reason in (None, EndReason.CLEAN), channel.end_reason
    print(f"{len(messages)} messages of up to {max(_SIZES)} bytes", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
