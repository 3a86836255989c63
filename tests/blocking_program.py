"""A blocking server that is interrupted by Ctrl-C; tells what it does line by line.

Its arguments are a transport and what it is to be interrupted in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from ipc_channel.sync import make_ipc_channel

LARGE = bytes(10**7)


def main(transport: str, within: str) -> None:
    server = make_ipc_channel(transport=transport, linger=60)  # type: ignore[arg-type]  # a plain str
    before = len(os.listdir("/proc/self/fd"))
    print(server.out_path, server.in_path, sep="\t", flush=True)
    steps: dict[str, Callable[[], object]] = {
        "connect": lambda: server.connect(60),
        "read": server.read,
        "write": lambda: server.write(LARGE),
        "close": server.close,
    }
    if within != "connect":
        server.connect(60)
    try:
        if within == "close":
            server.write(b"first")
            server.write(LARGE, 0)
    except TimeoutError:
        print("full", flush=True)
    try:
        print("begins", flush=True)
        steps[within]()
        print("was not interrupted", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    if within == "close":
        print(len(os.listdir("/proc/self/fd")) < before, flush=True)
        return
    server.connect(60)
    server.write(b"goes on")
    for message in server:
        server.write(message)
    server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
