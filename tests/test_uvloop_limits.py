"""What uvloop cannot do, and README says so: a run that passes here is a limit less."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED_AS_IT_BEGINS = """
import asyncio, socket
make = socket.socketpair
def interrupted():
    socket.socketpair = make
    raise KeyboardInterrupt  # as a signal handler does that runs in here
socket.socketpair = lambda *args: (interrupted if armed else make)()
armed = False
import uvloop
loop = uvloop.new_event_loop()
armed = True
try:
    loop.run_until_complete(asyncio.sleep(0))
except KeyboardInterrupt:
    armed = False
assert loop.is_running()
for act in (loop.close, lambda: loop.run_until_complete(asyncio.sleep(0))):
    try:
        act()
    except RuntimeError as error:
        print(error, flush=True)
import os
os._exit(0)  # it cannot be collected, either
"""


def test_a_loop_that_is_interrupted_as_it_begins_to_run_is_lost() -> None:
    command = [sys.executable, "-W", "ignore", "-c", INTERRUPTED_AS_IT_BEGINS]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "Cannot close a running event loop",
        "this event loop is already running.",
    ]
