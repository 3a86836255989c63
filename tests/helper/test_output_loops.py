"""The output of a helper that is started in one event loop and stopped in another."""

from __future__ import annotations

import asyncio
import threading

import pytest

from descriptors import open_descriptors
from helper_programs import connected
from ipc_channel import Helper, WrongLoopError
from loops import PLAIN
from raw import PATIENCE

FLOOD = "for n in range(5000): os.write(2, b'y' * 99 + b'\\n')\n"
END = "while os.read(r, 1 << 16): pass\n"


@pytest.mark.parametrize("make_loop", PLAIN)
def test_the_second_loop_goes_on_reading(make_loop: str) -> None:
    """Or the helper would wait in a write until it is killed."""
    lines: list[str] = []
    code = FLOOD + END
    helper = Helper(connected(code), stderr=lines.append, timeout=PATIENCE, grace=PATIENCE)
    with asyncio.Runner(loop_factory=PLAIN[make_loop]) as first:
        first.run(helper.start())
    with asyncio.Runner(loop_factory=PLAIN[make_loop]) as second:
        assert second.run(helper.stop()) == 0
    assert lines == ["y" * 99] * 5000


def test_a_loop_that_another_thread_runs_frees_the_pipe_itself() -> None:
    """The stop fails, but it ends the process."""
    before = open_descriptors()
    taken: list[tuple[str, threading.Thread]] = []

    def take(line: str) -> None:
        taken.append((line, threading.current_thread()))

    code = r"os.write(2, b'no end'); os.write(w, b'\0\0\0\2up')" + "\n" + END
    helper = Helper(connected(code), stderr=take, timeout=PATIENCE, grace=0)

    async def start() -> None:
        channel = await helper.start()
        assert await channel.read() == b"up"

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE)
        with pytest.raises(WrongLoopError):
            asyncio.run(helper.stop())
        asyncio.run_coroutine_threadsafe(helper.stop(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert taken == [("no end", thread)]
    assert open_descriptors() == before
