"""A service that has SIGPIPE at its default gets an error, and lives.

In a process of its own, since the default ends the process.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import raw

PROGRAM = """
import asyncio, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
from pathlib import Path
import uvloop
from ipc_channel import PeerError
from ipc_channel.transports import pipe_stream, pipe_write
import raw

way, loop, transport, role, directory = sys.argv[1:]
if way != "best":
    pipe_stream.best_write = lambda: getattr(pipe_write, way)

async def main():
    async with raw.connected(transport, role, Path(directory)) as (ours, peer):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # uvloop may have changed it
        peer.close()
        for _ in range(3):
            try:
                await ours.write(b"x" * 100_000)
            except PeerError:
                print("refused", flush=True)
            await asyncio.sleep(0.01)  # a signal that was held back would come by then
    assert not signal.sigpending()
    assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

if loop == "uvloop":
    uvloop.run(main())
else:
    asyncio.run(main())
assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
print("lives", flush=True)
"""


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("transport", "way"),
    [("tcp", "best"), ("named_pipe", "best"), ("named_pipe", "write_held_back")],
)
async def test_a_write_to_nobody(
    way: str, loop: str, transport: str, role: str, tmp_path: object
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, way, loop, transport, role, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(raw.__file__).parent,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().split()[-2:] == ["refused", "lives"]
