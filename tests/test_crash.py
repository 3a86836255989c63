"""A peer that is killed, at any byte: no hang, nothing lost, never a clean end.

The peer is a process that writes with plain system calls and then kills itself.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from ipc_channel import IPCChannel, TruncatedError, make_ipc_channel
from raw import PATIENCE, frame

PAYLOADS = [b"a", b"bcd", bytes(4), b"e" * 20]
WIRE = b"".join(map(frame, PAYLOADS))
PEER = """
import os, signal, socket, sys
in_path, out_path, wire = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
if in_path.startswith("/"):
    fd, out = os.open(in_path, os.O_RDONLY), os.open(out_path, os.O_WRONLY)
else:
    unix = in_path.startswith("unix:")
    sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    sock.connect(in_path[5:] if unix else ("127.0.0.1", int(in_path)))
    fd = out = sock.fileno()
while wire:
    wire = wire[os.write(out, wire):]
assert os.read(fd, 6) == b"\\0\\0\\0\\2go"
os.kill(os.getpid(), signal.SIGKILL)
"""


async def run_peer(server: IPCChannel, wire: bytes) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-E", "-c", PEER),
        *(server.out_path, server.in_path, wire.hex()),
    )


async def read_to_the_end(server: IPCChannel) -> list[bytes]:
    got = []
    try:
        async for message in server:
            got.append(message)
    except TruncatedError:
        pass
    return got


@pytest.mark.covers("SES-5")
@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
async def test_killed_at_any_byte(transport: Any, cut: int) -> None:
    server = make_ipc_channel(transport=transport)
    peer = await run_peer(server, WIRE[:cut])
    assert await server.connect(PATIENCE)
    await server.write(b"go")
    got = await asyncio.wait_for(read_to_the_end(server), PATIENCE)
    ends = [sum(len(frame(p)) for p in PAYLOADS[:count]) for count in range(5)]
    assert got == PAYLOADS[: sum(end <= cut for end in ends) - 1]
    assert server.end_reason == ("eof" if cut in ends else "truncated")
    await server.close()
    assert await peer.wait() == -9


@pytest.mark.parametrize("cut", [0, 2, 5, 6, len(WIRE)])
async def test_killed_on_every_loop(transport: Any, cut: int) -> None:
    await test_killed_at_any_byte(transport, cut)
