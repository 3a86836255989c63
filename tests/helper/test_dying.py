"""Helpers that end, are killed or stopped in the middle of something, or do not end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helper_programs import connected
from ipc_channel import (
    Helper,
    HelperError,
    TruncatedError,
    make_ipc_channel,
)
from library_helpers import ECHO, main
from raw import PATIENCE, eventually
from waiting import until_blocked, until_closing, until_waits

SPEAK = (
    "import os;"
    "r = os.open(os.environ['IPC_CHANNEL_IN'], os.O_RDONLY | os.O_NONBLOCK);"
    "w = os.open(os.environ['IPC_CHANNEL_OUT'], os.O_WRONLY);"
    "os.write(w, b'\\0\\0\\0\\1x');"
)


async def test_a_helper_that_ended_its_session_but_goes_on(transport: Any) -> None:
    body = "await channel.close()\ntime.sleep(1000)"
    helper = Helper(main(body), make_ipc_channel(transport=transport), grace=0.1)
    channel = await helper.start()
    assert await channel.read() is None
    said = r"is running 0\.1 s after its session; call process\.kill\(\) and start again"
    with pytest.raises(HelperError, match=said):
        await helper.start()
    helper.process.kill()
    await helper.process.wait()  # on a busy machine for longer than the grace
    assert await helper.start() is channel
    assert await helper.stop() == -signal.SIGTERM


@pytest.mark.parametrize("say", [b"", b"job"])
async def test_a_service_that_speaks_and_leaves_at_once(transport: Any, say: bytes) -> None:
    """The helper gets everything, although the service has gone when it reads."""
    body = "sys.exit(int(''.join([m.decode() async for m in channel]) != sys.argv[1]))"
    for _ in range(5):
        helper = Helper(
            [*main(body), say.decode()],
            make_ipc_channel(transport=transport),
            grace=PATIENCE,
        )
        async with helper as channel:
            if say:
                await channel.write(say)
        assert helper.process.returncode == 0


async def test_killed_inside_a_frame(transport: Any) -> None:
    body = """
await channel.write(b"whole")
stream = channel.session.stream
await asyncio.sleep(0)
stream.write([b"\\0\\0\\0\\x64" + b"half"])
await channel.read()
os.kill(os.getpid(), signal.SIGKILL)
"""
    helper = Helper(main(body), make_ipc_channel(transport=transport), check=False)
    async with helper as channel:
        await channel.write(b"now")
        assert await channel.read() == b"whole"
        with pytest.raises(TruncatedError):
            await channel.read()
        assert channel.end_reason == "truncated"


async def test_killed_with_unread_input(transport: Any) -> None:
    body = "await asyncio.sleep(0)\nos.write(2, b'')\nos.kill(os.getpid(), signal.SIGSTOP)"
    helper = Helper(main(body), make_ipc_channel(transport=transport))
    async with helper as channel:
        await _wait_stopped(helper.process.pid)
        await channel.write(b"never read")
        helper.process.send_signal(signal.SIGKILL)
        try:
            assert await channel.read() is None
        except ConnectionResetError:
            assert transport != "named_pipe"
        assert channel.end_reason == ("eof" if transport == "named_pipe" else "reset")


async def _wait_stopped(pid: int) -> None:
    await eventually(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")


async def test_stopped_in_mid_transfer(transport: Any) -> None:
    message = os.urandom(5 * 2**20)
    async with Helper(ECHO, make_ipc_channel(transport=transport)) as channel:
        helper = channel
        writing = asyncio.create_task(channel.write(message))
        reading = asyncio.create_task(channel.read())
        await until_waits(writing)
        pid = _child_of(os.getpid())
        os.kill(pid, signal.SIGSTOP)
        await _wait_stopped(pid)
        await asyncio.sleep(0.2)  # it stands still for a while
        os.kill(pid, signal.SIGCONT)
        assert await reading == message
        await writing
        assert helper is channel


def _child_of(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


async def test_a_helper_that_ends_before_it_connects(transport: Any) -> None:
    helper = Helper(
        [sys.executable, "-c", "raise SystemExit(3)"],
        make_ipc_channel(transport=transport),
        timeout=PATIENCE,
    )
    with pytest.raises(
        HelperError, match=r"SystemExit.* ended with status 3 before it connected"
    ):
        async with helper:
            pytest.fail("the body must not run")


async def test_a_helper_that_does_not_end_is_made_to() -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nawait channel.write(b'deaf')\ntime.sleep(1000)"
    helper = Helper(main(body), make_ipc_channel(), grace=0.1)
    channel = await helper.start()
    assert await channel.read() == b"deaf"
    assert await helper.stop() == -signal.SIGKILL
    assert await helper.stop() == -signal.SIGKILL


async def test_a_helper_that_speaks_and_leaves_at_once(transport: Any) -> None:
    # Over TCP it waits for us: a socket that was closed has no owner to check.
    wait = "await channel.read()\n" if transport == "tcp" else ""
    body = f"await channel.write(b'done')\n{wait}await channel.close()"
    async with Helper(main(body), make_ipc_channel(transport=transport)) as channel:
        if wait:
            await channel.write(b"go")
        assert [message async for message in channel] == [b"done"]
        assert channel.end_reason == "clean"


async def test_a_helper_that_is_gone_before_it_was_met() -> None:
    for _ in range(3):
        async with Helper(
            [sys.executable, "-S", "-c", SPEAK], make_ipc_channel()
        ) as channel:
            assert await channel.read() == b"x"
            assert await channel.read() is None


async def test_sigterm_comes_before_sigkill() -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        + SPEAK
        + "\nwhile True: time.sleep(0.05)"  # see helper_programs
    )
    helper = Helper([sys.executable, "-S", "-c", code], make_ipc_channel(), grace=2)
    channel = await helper.start()
    assert await channel.read() == b"x"
    assert await helper.stop() == 7


async def test_a_failed_start_does_not_wait_for_the_grace() -> None:
    helper = Helper(
        [sys.executable, "-c", "import time; time.sleep(1000)"],
        make_ipc_channel(),
        timeout=0.1,
        grace=PATIENCE,
    )
    start = time.monotonic()
    with pytest.raises(HelperError):
        async with helper:
            pytest.fail("the body must not run")
    assert time.monotonic() - start < PATIENCE / 2


async def test_a_stop_cancelled_while_closing_still_ends_the_helper() -> None:
    helper = Helper(
        [sys.executable, "-S", "-c", SPEAK + "import time; time.sleep(1000)"],
        make_ipc_channel(linger=PATIENCE),
        grace=0.05,
    )
    channel = await helper.start()
    writing = asyncio.create_task(channel.write(bytes(20 * 2**20)))
    await until_blocked(channel)
    stopping = asyncio.create_task(helper.stop())
    await until_closing(channel)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert helper.process.returncode is not None
    await asyncio.gather(writing, return_exceptions=True)


async def test_a_helper_that_handles_our_signal_has_not_failed() -> None:
    code = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(3))\n"
    helper = Helper(
        connected(f"{code}os.write(w, b'\\0\\0\\0\\1x')\nwhile os.read(r, 1 << 16): pass"),
        timeout=PATIENCE,
    )
    async with helper as channel:
        assert await channel.read() == b"x"
        helper.process.terminate()
        assert await helper.process.wait() == 3
    assert helper.result is not None
    assert helper.result.requested
