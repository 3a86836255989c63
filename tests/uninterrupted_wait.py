"""A blocking read that no signal interrupts: ``uninterrupted_wait.py leads|follows``.

On Windows no wait is interrupted. Elsewhere this program does what Windows does: it tells
the interpreter of a signal without one that would interrupt a system call.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Sequence

from blocking_pair import pair
from ipc_channel.sync import IPCChannelClient, caller_loop, poller, slices
from ipc_channel.sync.channel import parts_of
from ipc_channel.sync.driver import NOBODY

polls: list[float | None] = []
"""How long each poll was to wait."""


class CountingPoller(poller.SelectorPoller):
    def poll(self, timeout: float | None) -> Sequence[tuple[int, int]]:
        polls.append(timeout)
        return super().poll(timeout)


def interrupt_when(channel: IPCChannelClient, waiting: int) -> None:
    """Interrupt the main thread once so many threads wait, for longer than one poll."""
    driver = parts_of(channel)[0]
    while len(driver.waiting) < waiting or driver.leader == NOBODY:
        time.sleep(0.001)
    begun = len(polls)
    while waiting > 1 and len(polls) < begun + 3:
        time.sleep(0.001)
    _thread.interrupt_main()


def main(who: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    if sys.platform != "win32":
        slices.SLICE = 0.01  # type: ignore[misc]  # Final, but for this program
    caller_loop.make_poller = CountingPoller  # type: ignore[attr-defined]  # it imports the name
    server, client = pair()
    threads = 1
    if who == "follows":
        threads = 2
        threading.Thread(target=client.read, daemon=True).start()
        while parts_of(client)[0].leader == NOBODY:
            time.sleep(0.001)
    threading.Thread(target=interrupt_when, args=[client, threads]).start()
    try:
        client.read()
    except KeyboardInterrupt:
        print("interrupted, and then:", end=" ")
    for _ in range(threads):
        server.write(b"later")
    message = client.read()
    assert message is not None
    print(message.decode())


if __name__ == "__main__":
    main(sys.argv[1])
