"""The pipe of a helper's output, written to by the test itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from descriptors import open_descriptors
from helper_programs import connected
from ipc_channel import Helper
from ipc_channel.helper.output import HelperOutput, Outputs
from raw import PATIENCE, eventually

pytestmark = pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: tests of POSIX pipes")


@contextlib.contextmanager
def begun(stderr: Any) -> Iterator[tuple[HelperOutput, int]]:
    """Give an output that is being read, and the end that a helper would have."""
    output = Outputs("x", stdout="inherit", stderr=stderr, in_thread=False).open()
    end = os.dup(output.ends[2])
    os.set_blocking(end, False)
    output.begin(1)
    try:
        yield output, end
    finally:
        os.close(end)
        output.close()


async def test_closing_reads_what_is_left() -> None:
    lines: list[str] = []
    with begun(lines.append) as (output, end):
        os.write(end, b"a\nno end")
        output.close()  # before the loop has looked
        assert lines == ["a", "no end"]
        assert output.last_lines == ("a", "no end")


async def test_looking_at_the_last_lines_reads_what_is_left() -> None:
    with begun("discard") as (output, end):
        os.write(end, b"a\nno end")
        output.read_rest()
        assert output.last_lines == ("a", "no end")


async def test_it_is_freed_when_the_helper_has_closed_it() -> None:
    before = open_descriptors()
    with begun("discard") as (_, end):
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, end)  # as if it had been closed
        os.close(null)
        await eventually(lambda: open_descriptors() == before)


def fill(fd: int) -> int:
    """Write to a pipe for as long as it has room; return how much."""
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(fd, b"y" * 4096)
    return written


async def test_without_room_the_helper_waits_and_nothing_is_lost() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    with open(reading, "rb", buffering=0) as source, open(writing, "wb") as full:
        sent, got = fill(writing), 0
        with begun(full) as (_, end):
            more = fill(end)
            for _ in range(100):
                sent += more
                await asyncio.sleep(0)
                more = fill(end)
            assert more == 0, "it reads on, although there is no room"
            while got < sent:
                got += len(source.read(65536) or b"")
                await asyncio.sleep(0)
            assert got == sent


async def test_a_result_has_what_was_written_before_the_loop_has_looked() -> None:
    code = "os.read(r, 5); os.write(2, b'last words'); os._exit(0)"
    helper = Helper(connected(code), timeout=PATIENCE)
    channel = await helper.start()
    await channel.write(b"x")
    os.waitid(os.P_PID, helper.process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # it is to stop the loop
    assert helper.result is not None
    assert helper.result.last_lines == ("last words",)
    await helper.stop()
