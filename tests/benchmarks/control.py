"""How a process of a pair talks to the harness: orders on stdin, JSON lines on stdout.

::

    ready    {"address": [IN, OUT, ...]}       the driver tells where its peer is to go,
             {"address": []}                   the peer has nothing to tell
    go       go<TAB>IN<TAB>OUT...              both connect; the driver gets no address
    first    {"first": NANOSECONDS}            CLOCK_MONOTONIC at the first message
    order    NUMBER KIND COUNT SIZE            one measurement
    answer   {"order": NUMBER, ...}            its figures; NUMBER is that of the order
    stall    NUMBER stall 0 SIZE               fill channels that have no reader
    quit     quit                              or the end of stdin

A peer reads only the line "go"; everything later reaches it over the channel.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """What a driver is told to do; its answer carries the number."""

    number: int
    kind: str
    count: int
    size: int


def say(**fields: object) -> None:
    """Send one line to the harness."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def await_go() -> list[tuple[str, str]]:
    """Wait for "go"; return the address of each channel. Exit if the harness has gone."""
    word, *strings = sys.stdin.readline().rstrip("\n").split("\t")
    if word != "go":
        sys.exit("no order to go")
    return list(zip(strings[::2], strings[1::2], strict=True))


def orders() -> Iterator[Order]:
    """Give each order, until "quit" or until the harness has gone."""
    for line in sys.stdin:
        if line == "quit\n":
            return
        number, kind, count, size = line.split()
        yield Order(int(number), kind, int(count), int(size))
