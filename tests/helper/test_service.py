"""Whole services with a helper: interrupted, in a terminal, and ended without a stop."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import dispositions
from helper_programs import IGNORES, connected
from process_tree import lives
from raw import PATIENCE

SERVICE = """
import asyncio, sys
from ipc_channel import Helper, make_ipc_channel

async def main(command, transport, grace):
    channel = make_ipc_channel(transport=transport)
    helper = Helper(command, channel, grace=grace)
    async with helper:
        writes = [asyncio.create_task(channel.write(bytes(400_000))) for _ in range(30)]
        print("pid", helper.process.pid, flush=True)
        await asyncio.sleep(1000)
"""


def service(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", SERVICE + code, *arguments]


@pytest.mark.parametrize("interrupts", [1, 2, 3, 4])
def test_interrupted_however_often_nothing_is_left(transport: Any, interrupts: int) -> None:
    grace = 0.1 if interrupts == 1 else 10 * PATIENCE  # the second one waits for nothing
    code = f"asyncio.run(main({IGNORES!r}, sys.argv[1], {grace}))"
    with subprocess.Popen(
        service(code, transport),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline().split()[1])
        for _ in range(interrupts):
            time.sleep(0.05)  # the second comes while the first is looked after
            started.send_signal(signal.SIGINT)
        started.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while lives(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_service_that_just_ends(transport: Any) -> None:
    """The interpreter kills what it leaves, and not what belongs to its parent."""
    code = f"""
loop = asyncio.new_event_loop()
helper = Helper({IGNORES!r}, make_ipc_channel(transport=sys.argv[1]))
loop.run_until_complete(helper.start())
import os
if (child := os.fork()) == 0:
    sys.exit()
os.waitpid(child, 0)
assert helper.process.returncode is None
print("pid", helper.process.pid, flush=True)
"""
    done = subprocess.run(
        service(code, transport),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not lives(int(done.stdout.split()[1]))


TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
async def talk(command, transport, group):
    helper = Helper(command, make_ipc_channel(transport=transport), process_group=group)
    async with helper as channel:
        assert await channel.read() == b"ready"
        print("service ready", flush=True)
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            print("service interrupted", flush=True)
            if not group:
                assert await channel.read() == b"interrupted"
asyncio.run(talk(sys.argv[3:], sys.argv[1], sys.argv[2] == "True"))
"""

TELLS = """
import _signal, select
def tell(*_):
    os.write(2, b"helper interrupted\\n")
    os.write(w, b"\\0\\0\\0\\x0binterrupted")
_signal.signal(_signal.SIGINT, tell)
os.write(w, b"\\0\\0\\0\\5ready")
while not select.select([r], [], [], 0.05)[0] or os.read(r, 100): pass
"""


@pytest.mark.parametrize("group", [True, False])
def test_interrupt_in_a_terminal(transport: Any, group: bool) -> None:
    """It reaches the service, and the helper only if it shares the group."""
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        service(TERMINAL, transport, str(group), *connected(TELLS)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=dispositions.restore,
    ) as started:
        os.close(terminal)
        seen = b""
        while b"service ready" not in seen:
            seen += read(ours)
        os.write(ours, b"\x03")
        while more := read(ours):
            seen += more
        assert started.wait(PATIENCE) == 0
    os.close(ours)
    assert b"service interrupted" in seen
    assert (b"helper interrupted" in seen) is not group


def read(terminal: int) -> bytes:
    """Return what came over a terminal; b"" once its other end is closed."""
    assert select.select([terminal], [], [], PATIENCE)[0]
    try:
        return os.read(terminal, 1000)
    except OSError:
        return b""
