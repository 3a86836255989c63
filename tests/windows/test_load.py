"""Many messages, starts and kills of a helper on Windows."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import sys

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

from ipc_channel import EndReason, Helper, IPCChannel, IPCChannelError
from windows_handles import handles
from windows_load import IS_LONG, helper, mixed
from windows_programs import PATIENCE, no_more_handles_than
from wine import IS_WINE

SIZES = (1, 2, 4095, 4096, 4097, 65_535, 65_536, 2**20 + 1, 16 * 2**20, 64 * 2**20)
pytestmark = pytest.mark.timeout(1800)


async def test_every_size_goes_both_ways() -> None:
    async with Helper(helper("echo"), timeout=PATIENCE) as channel:
        for size in SIZES:
            message = random.Random(size).randbytes(size)
            writing = asyncio.create_task(channel.write(message))
            answer = await asyncio.wait_for(channel.read(), PATIENCE)
            await writing
            assert answer is not None
            assert len(answer) == size
            assert hashlib.sha256(answer).digest() == hashlib.sha256(message).digest()


async def test_a_reader_that_is_cancelled_all_the_time() -> None:
    """Each millisecond; not a byte is lost."""
    count = 20_000 if IS_LONG else 2_000
    async with Helper(helper("send_mixed", 1, count), timeout=PATIENCE) as channel:
        for expected in mixed(1, count):
            assert await read_cancelled(channel) == expected
        assert await channel.read() is None
        assert channel.end_reason is EndReason.CLEAN


async def read_cancelled(channel: IPCChannel) -> bytes | None:
    while True:
        reading = asyncio.ensure_future(channel.read())
        await asyncio.wait({reading}, timeout=0.001)
        reading.cancel()
        try:
            return await reading
        except asyncio.CancelledError:
            continue


async def test_starts_leave_no_handle() -> None:
    async def once() -> None:
        async with Helper(helper("echo"), timeout=PATIENCE) as channel:
            await channel.write(b"hello")
            assert await channel.read() == b"hello"

    for _ in range(3):
        await once()
    # In a thread, since some are closed in the next turn of the loop.
    before = await asyncio.to_thread(handles)
    for _ in range(200 if IS_LONG else 6):
        await once()
    await asyncio.to_thread(no_more_handles_than, before)


async def test_kills_at_random_moments() -> None:
    """The end is always told, and never clean."""
    chance, kept = random.Random(), 0
    for number in range(300 if IS_LONG else 6):
        end = await killed(chance.random() * 0.1)
        assert end is not EndReason.CLEAN, number
        kept += end is None
    assert kept == 0 or IS_WINE
    print(f"ends that Wine kept back: {kept}")


async def killed(delay: float) -> EndReason | None:
    """Return how a session ends whose helper is killed ``delay`` after its start.

    None if nothing is told, as it happens under Wine: its server then keeps the socket of
    a process that was killed within a call, as what it prints when it ends itself shows.
    """
    target = Helper(helper("flood"), timeout=PATIENCE)
    channel = await target.start()
    try:
        asyncio.get_running_loop().call_later(delay, target.process.kill)
        await asyncio.wait_for(target.process.wait(), PATIENCE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(read_all(channel), 2 if IS_WINE else PATIENCE)
        return channel.end_reason
    finally:
        await target.stop()


async def read_all(channel: IPCChannel) -> None:
    with contextlib.suppress(IPCChannelError):
        while await channel.read() is not None:
            pass
