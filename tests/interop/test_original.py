"""The package whose API and wire these are, in a process of its own, against ours.

One program is run with either package behind its import. The messages are of
sizes that the original does not cut.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ipc_channel import IPCChannelClient, make_ipc_channel, make_ipc_channel_client
from raw import PATIENCE

PROGRAM = Path(__file__).parent / "echo_program.py"
MODULES = ["aea.helpers.pipe", "ipc_channel"]
CLASSES = {"named_pipe": "PosixNamedPipeChannel", "tcp": "TCPSocketChannel"}
SIZES = [1, 4, 100, 4092, 4096, 60_000]


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", str(PROGRAM), *arguments), stdout=subprocess.PIPE
    )


@pytest.fixture(params=CLASSES)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport that the original has."""
    return str(request.param)


@pytest_asyncio.fixture(params=MODULES)
async def channel(
    request: pytest.FixtureRequest, transport: str, role: str
) -> AsyncIterator[IPCChannelClient]:
    """Our end, in ``role``, connected to the program; it must end well."""
    ours: IPCChannelClient
    if role == "server":
        ours = server = make_ipc_channel(transport=transport)  # type: ignore[arg-type]  # a parameter is a plain str
        paths = server.out_path, server.in_path
        process = await start(request.param, CLASSES[transport] + "Client", *paths)
    else:
        process = await start(request.param, CLASSES[transport])
        assert process.stdout
        in_path, out_path = (await process.stdout.readline()).decode().split()
        ours = make_ipc_channel_client(out_path, in_path)
    try:
        assert await ours.connect(PATIENCE)
        yield ours
    finally:
        await ours.close()
        if process.returncode is None and not await _ends(process):
            process.kill()
    assert await process.wait() == 0


async def _ends(process: asyncio.subprocess.Process) -> bool:
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        return False
    return True


async def test_echo(channel: IPCChannelClient) -> None:
    source = random.Random(1)
    for size in SIZES * 5:
        message = source.randbytes(size)
        await channel.write(message)
        assert await channel.read() == message


async def test_many_in_flight(channel: IPCChannelClient) -> None:
    messages = [b"%d" % number for number in range(1000)]
    for start in range(0, 1000, 100):
        for message in messages[start : start + 100]:
            await channel.write(message)
        got = [await channel.read() for _ in range(100)]
        assert got == messages[start : start + 100]
