"""Driver and peer over anything that blocks: the same work as in ``async_end``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from itertools import repeat
from typing import Protocol

from benchmarks.async_end import HELLO, Address, bursts, check, check_total
from benchmarks.control import Order, await_go, orders, say


class Channel(Protocol):
    """A connection whose calls block; a message may be any bytes-like object.

    It is valid until the next ``read``. A channel may have ``write_many``, which then does
    the work one way.
    """

    def write(self, data: bytes, /) -> object: ...
    def read(self) -> bytes: ...
    def close(self) -> None: ...


class Adapter(Protocol):
    """What a module in ``adapters`` gives for blocking calls."""

    def listen(
        self, transport: str, directory: str
    ) -> tuple[Address, Callable[[], Channel]]:
        """Prepare what must exist before the other end comes; return how to await it."""

    def dial(self, transport: str, address: Address) -> Channel: ...


class Work:
    """The workloads over one channel; times are in nanoseconds."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def round_trip(self, count: int, payload: bytes) -> int:
        write, read = self._channel.write, self._channel.read
        sent = message = payload
        write(b"echo %d" % count)
        start = time.perf_counter_ns()
        for burst in bursts(count, payload):
            for sent in burst:
                write(sent)
                message = read()
                if not message or len(message) != len(sent) or message[0] != sent[0]:
                    check(sent, message)
            check(sent, message)
        spent = time.perf_counter_ns() - start
        read()
        return spent

    def one_way(self, count: int, payload: bytes) -> int:
        write, write_many = self._channel.write, getattr(self._channel, "write_many", None)
        write(b"sink %d" % count)
        start = time.perf_counter_ns()
        if write_many is not None:
            write_many(repeat(payload, count))
        else:
            for _ in range(count):
                write(payload)
        _, received = self._acknowledgement()
        spent = time.perf_counter_ns() - start
        check_total(count * len(payload), received)
        return spent

    def both(self, count: int, payload: bytes) -> int:
        self._channel.write(b"both %d %d" % (count, len(payload)))
        start = time.perf_counter_ns()
        got = exchange(self._channel, count, payload)
        _, received = self._acknowledgement()
        spent = time.perf_counter_ns() - start
        check_total(2 * count * len(payload), received + got)
        return spent

    def peer_cpu(self) -> int:
        self._channel.write(b"sink 0")
        return self._acknowledgement()[0]

    def _acknowledgement(self) -> tuple[int, int]:
        cpu, received = bytes(self._channel.read()).split()
        return int(cpu), int(received)


def exchange(channel: Channel, count: int, payload: bytes) -> int:
    """Write ``count`` messages in a thread while reading as many; return the bytes read."""

    def send() -> None:
        for _ in range(count):
            channel.write(payload)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    got = sum(len(channel.read()) for _ in range(count))
    sending.join()
    return got


def report(work: Work, order: Order) -> None:
    """Do one order and report its figures."""
    payload = os.urandom(order.size)
    peer, own = work.peer_cpu(), time.process_time_ns()
    spent = getattr(work, order.kind)(order.count, payload)
    own = time.process_time_ns() - own
    peer = work.peer_cpu() - peer
    say(order=order.number, ns=spent, driver_cpu=own, peer_cpu=peer)


def driver(adapter: Adapter, transport: str, directory: str) -> None:
    """Listen, await the peer, and do what the harness orders."""
    address, accept = adapter.listen(transport, directory)
    say(address=address)
    await_go()
    channel = accept()
    hello = channel.read()
    first = time.monotonic_ns()
    check(HELLO, hello)
    say(first=first)
    work = Work(channel)
    for order in orders():
        report(work, order)
    channel.write(b"quit")
    channel.close()


def peer(adapter: Adapter, transport: str, directory: str) -> None:
    """Dial, say hello, and serve until told to quit."""
    del directory
    say(address=[])
    [address] = await_go()
    channel = adapter.dial(transport, address)
    channel.write(HELLO)
    while (order := bytes(channel.read()).split())[0] != b"quit":
        received = serve(channel, order[0], *map(int, order[1:]))
        channel.write(b"%d %d" % (time.process_time_ns(), received))
    channel.close()


def serve(channel: Channel, name: bytes, count: int, size: int = 0) -> int:
    """Do one order and return how many bytes came."""
    if name == b"both":
        return exchange(channel, count, os.urandom(size))
    write, read = channel.write, channel.read
    if name == b"echo":
        for _ in range(count):
            write(read())
        return 0
    return sum(len(read()) for _ in range(count))
