"""Driver and peer over anything that has an awaitable ``write`` and ``read``.

The orders of a workload travel as an ordinary first message: ``echo N``,
``sink N``, ``both N SIZE``, ``stall`` and ``quit``. The peer answers each but
the last two with an acknowledgement of two numbers: the nanoseconds of CPU time
that its process has used since it began, and the bytes that it has received.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence, Sized
from itertools import cycle, islice
from typing import Protocol

from benchmarks.control import Order, await_go, orders, say

HELLO = b"hello"
Address = tuple[str, str]


class Channel(Protocol):
    """What a workload needs of a connection."""

    def write(self, data: bytes, /) -> Awaitable[object]: ...
    def read(self) -> Awaitable[bytes | None]: ...
    async def close(self) -> None: ...


class Adapter(Protocol):
    """What a module in ``adapters`` gives for an event loop."""

    async def listen(
        self, transport: str, directory: str, number: int
    ) -> tuple[Address, Callable[[], Awaitable[Channel]]]:
        """Prepare what must exist before the other end comes; return how to await it."""

    async def dial(self, transport: str, address: Address) -> Channel: ...


class Work(Protocol):
    """The work of a driver; times are in nanoseconds."""

    async def round_trip(self, count: int, payload: bytes) -> int: ...
    async def one_way(self, count: int, payload: bytes) -> int: ...
    async def both(self, count: int, payload: bytes) -> int: ...
    async def channels(self, count: int, payload: bytes) -> int: ...
    async def peer_cpu(self) -> int: ...


async def receive(channel: Channel) -> bytes:
    """Return the next message; fail at an end, which no workload has."""
    message = await channel.read()
    if message is None:
        raise EOFError("the other end has gone")
    return message


def check(payload: bytes, got: Sized) -> None:
    """Fail unless ``got`` equals ``payload``: figures of wrong work are worth nothing."""
    if bytes(got) != payload:  # type: ignore[call-overload]  # any bytes-like object
        raise ValueError(f"sent {len(payload)} bytes and got other {len(got)}")


def bursts(count: int, payload: bytes) -> tuple[Iterator[bytes], Iterator[bytes]]:
    """Return the messages of round trips: the first, and all the others.

    Neighbours differ in their first byte, so that an echo that comes twice or not at
    all is found by it. That and the length are looked at for each echo, which costs
    little at any size; the last of a burst is compared as a whole.
    """
    messages = cycle((payload, bytes((payload[0] ^ 1,)) + payload[1:]))
    return islice(messages, 1), islice(messages, count - 1)


async def round_trips(channel: Channel, count: int, payload: bytes) -> None:
    write, read = channel.write, channel.read
    sent, message = payload, None
    for burst in bursts(count, payload):
        for sent in burst:
            await write(sent)
            message = await read()
            if not message or len(message) != len(sent) or message[0] != sent[0]:
                check(sent, message or b"")
        check(sent, message or b"")


class ChannelWork:
    """The workloads over channels; all but one use the first channel only."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = channels
        self._channel = channels[0]

    async def round_trip(self, count: int, payload: bytes) -> int:
        return await self._echo([self._channel], count, payload)

    async def one_way(self, count: int, payload: bytes) -> int:
        write = self._channel.write
        await write(b"sink %d" % count)
        start = time.perf_counter_ns()
        for _ in range(count):
            await write(payload)
        _, received = await self._acknowledgement()
        spent = time.perf_counter_ns() - start
        check_total(count * len(payload), received)
        return spent

    async def both(self, count: int, payload: bytes) -> int:
        await self._channel.write(b"both %d %d" % (count, len(payload)))
        start = time.perf_counter_ns()
        got = await exchange(self._channel, count, payload)
        _, received = await self._acknowledgement()
        spent = time.perf_counter_ns() - start
        check_total(2 * count * len(payload), received + got)
        return spent

    async def channels(self, count: int, payload: bytes) -> int:
        return await self._echo(self._channels, -(-count // len(self._channels)), payload)

    async def peer_cpu(self) -> int:
        await self._channel.write(b"sink 0")
        return (await self._acknowledgement())[0]

    async def _echo(self, channels: Sequence[Channel], count: int, payload: bytes) -> int:
        """Do ``count`` round trips on each of the channels at once."""
        for channel in channels:
            await channel.write(b"echo %d" % count)
        start = time.perf_counter_ns()
        async with asyncio.TaskGroup() as group:
            for channel in channels:
                group.create_task(round_trips(channel, count, payload))
        spent = time.perf_counter_ns() - start
        for channel in channels:
            await receive(channel)
        return spent

    async def _acknowledgement(self) -> tuple[int, int]:
        cpu, received = bytes(await receive(self._channel)).split()
        return int(cpu), int(received)


def check_total(expected: int, got: int) -> None:
    if expected != got:
        raise ValueError(f"sent {expected} bytes and got {got}")


async def exchange(channel: Channel, count: int, payload: bytes) -> int:
    """Write ``count`` messages while reading as many; return how many bytes came."""

    async def send() -> None:
        for _ in range(count):
            await channel.write(payload)

    sending = asyncio.create_task(send())
    got = await sink(channel, count)
    await sending
    return got


async def report(work: Work, order: Order) -> None:
    """Do one order and report its figures."""
    payload = os.urandom(order.size)
    peer, own = await work.peer_cpu(), time.process_time_ns()
    spent = await getattr(work, order.kind)(order.count, payload)
    own = time.process_time_ns() - own
    peer = await work.peer_cpu() - peer
    say(order=order.number, ns=spent, driver_cpu=own, peer_cpu=peer)


async def driver(adapter: Adapter, transport: str, directory: str, count: int) -> None:
    """Listen, await the peer, and do what the harness orders."""
    prepared = [await adapter.listen(transport, directory, i) for i in range(count)]
    say(address=[string for address, _ in prepared for string in address])
    await_go()
    channels = await asyncio.gather(*(accept() for _, accept in prepared))
    hellos = await asyncio.gather(*(receive(channel) for channel in channels))
    first = time.monotonic_ns()
    for hello in hellos:
        check(HELLO, hello)
    say(first=first)
    work = ChannelWork(channels)
    for order in orders():
        if order.kind == "stall":
            say(order=order.number, stalled=await fill(channels, order.size))
        else:
            await report(work, order)
    await asyncio.gather(*(channel.write(b"quit") for channel in channels))
    await asyncio.gather(*(channel.close() for channel in channels))


async def fill(channels: Sequence[Channel], size: int) -> int:
    """Have the peer stop reading, write until nothing goes any more; return how many went.

    Afterwards the writes are still waiting: such a pair is killed.
    """
    payload = os.urandom(size)
    written = 0

    async def write(channel: Channel) -> None:
        nonlocal written
        await channel.write(b"stall")
        while True:
            await channel.write(payload)
            written += 1

    writing = [asyncio.create_task(write(channel)) for channel in channels]
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.3)
    for failed in (task for task in writing if task.done()):
        failed.result()
    if not written:
        raise ValueError("nothing was written to the channels without a reader")
    return written


async def peer(adapter: Adapter, transport: str, directory: str, count: int) -> None:
    """Dial, say hello on each channel, and serve each until it is told to quit."""
    del directory, count
    say(address=[])
    addresses = await_go()
    channels = await asyncio.gather(*(adapter.dial(transport, one) for one in addresses))
    await asyncio.gather(*(channel.write(HELLO) for channel in channels))
    await asyncio.gather(*(serve(channel) for channel in channels))
    await asyncio.gather(*(channel.close() for channel in channels))


async def serve(channel: Channel) -> None:
    """Do what the orders on ``channel`` say, until "quit" or an end."""
    while (order := await channel.read()) is not None:
        name, *numbers = bytes(order).split()
        if name == b"quit":
            return
        received = await ORDERS[name](channel, *map(int, numbers))
        await channel.write(b"%d %d" % (time.process_time_ns(), received))


async def echo(channel: Channel, count: int) -> int:
    write, read = channel.write, channel.read
    for _ in range(count):
        message = await read()
        if message is None:
            raise EOFError("the other end has gone")
        await write(message)
    return 0


async def sink(channel: Channel, count: int) -> int:
    read = channel.read
    received = 0
    for _ in range(count):
        message = await read()
        if message is None:  # not by receive, whose coroutine would be on the clock
            raise EOFError("the other end has gone")
        received += len(message)
    return received


async def both(channel: Channel, count: int, size: int) -> int:
    return await exchange(channel, count, os.urandom(size))


async def stall(channel: Channel) -> int:
    await asyncio.Event().wait()  # until killed
    return 0


ORDERS: dict[bytes, Callable[..., Awaitable[int]]] = {
    b"echo": echo,
    b"sink": sink,
    b"both": both,
    b"stall": stall,
}
