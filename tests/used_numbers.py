"""A helper has ended, and its process number is another process's by now.

    used_numbers.py CASE TRANSPORT

It decides which numbers new processes get, so it runs in a namespace of its own: elsewhere
every other program would find numbers used again, and might kill the wrong process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from helper_programs import BEHAVES, SLEEPS
from ipc_channel import Helper, HelperError, make_ipc_channel

LAST = Path("/proc/sys/kernel/ns_last_pid")
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def other_process(number: int) -> subprocess.Popen[bytes]:
    """Return an echo with this number, which leads a group of that number."""
    LAST.write_text(str(number - 1))
    pipe = subprocess.PIPE
    other = subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, start_new_session=True)
    assert other.pid == number
    return other


def check(other: subprocess.Popen[bytes]) -> None:
    """Check that no signal has ended it; a look at its status might come too soon."""
    output, _ = other.communicate(b"it lives")
    assert (other.returncode, output) == (0, b"it lives")


async def failed_start(transport: Any) -> None:
    helper = Helper(SLEEPS, make_ipc_channel(transport=transport), timeout=0.1)
    try:
        await helper.start()
    except HelperError as error:
        assert "did not connect" in str(error)
    else:
        raise AssertionError("a helper that does not connect was started")
    other = other_process(helper.process.pid)
    await helper.stop()
    helper.process._child.signal(signal.SIGKILL)
    helper.process._child.kill_all()
    check(other)


async def reaped_by_other_code(transport: Any) -> None:
    """Nothing has looked at the helper since."""
    helper = Helper(BEHAVES, make_ipc_channel(transport=transport), grace=0)
    await helper.start()
    pid = helper.process.pid
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[0] == pid  # noqa: ASYNC222  # nothing else runs in this loop
    other = other_process(pid)
    assert await helper.stop() == 255
    check(other)


CASES = {case.__name__: case for case in (failed_start, reaped_by_other_code)}


if __name__ == "__main__":
    asyncio.run(CASES[sys.argv[1]](sys.argv[2]))
    print("the other process was left alone")
