"""Helpers as real processes: started, met, and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    FrameTooLargeError,
    Helper,
    HelperError,
    UnixSocketChannel,
    make_ipc_channel,
    make_ipc_channel_client,
)
from library_helpers import ECHO, child, main


async def test_echo(transport: Any) -> None:
    before = open_descriptors()
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    async with helper as channel:
        for message in (b"one", b"two" * 100_000):
            await channel.write(message)
            assert await channel.read() == message
    assert helper.process.returncode == 0
    assert open_descriptors() == before


async def test_a_helper_without_a_channel_gets_one() -> None:
    before = open_descriptors()
    helper = Helper(ECHO)
    assert isinstance(helper.channel, UnixSocketChannel)
    async with helper as channel:
        assert channel is helper.channel
        await channel.write(b"over a Unix socket")
        assert await channel.read() == b"over a Unix socket"
    assert helper.process.returncode == 0
    assert open_descriptors() == before


def test_a_helper_that_is_refused_makes_no_channel() -> None:
    with pytest.raises(ValueError, match="grace is -1"):
        Helper(ECHO, grace=-1)  # the fixture looks for a directory left behind


async def test_a_helper_is_restarted_on_the_same_channel(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    for number in range(3):
        channel = await helper.start()
        with pytest.raises(HelperError, match="is running"):
            await helper.start()
        await channel.write(b"%d" % number)
        assert await channel.read() == b"%d" % number
        helper.process.send_signal(signal.SIGKILL)
        assert await channel.read() is None
        assert channel.end_reason == "eof"  # and start once more, without waiting for it
    assert await helper.stop() == -signal.SIGKILL
    pid = helper.process.pid
    with pytest.raises(ChannelClosedError):
        await helper.start()
    assert helper.process.pid == pid, "no process may be started for a closed channel"


async def test_a_helper_that_runs_is_replaced(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    channel = await helper.start()
    first = helper.process.pid
    with pytest.raises(HelperError, match="disconnect the channel and start again"):
        await helper.start()
    await channel.disconnect()
    await helper.start()
    assert helper.process.pid != first
    await channel.write(b"hello")
    assert await channel.read() == b"hello"
    assert await helper.stop() == 0


async def test_a_channel_that_has_another_peer() -> None:
    server = make_ipc_channel()
    client = make_ipc_channel_client(server.out_path, server.in_path)
    assert all(await asyncio.gather(server.connect(), client.connect()))
    with pytest.raises(HelperError, match="has a peer already"):
        await Helper(ECHO, server).start()
    await client.close()
    await server.close()


async def test_a_helper_that_never_connects(transport: Any) -> None:
    helper = Helper(
        [sys.executable, "-c", "import time; time.sleep(1000)"],
        make_ipc_channel(transport=transport),
        timeout=0.2,
    )
    with pytest.raises(HelperError, match=r"did not connect in 0\.2 s"):
        async with helper:
            pytest.fail("the body must not run")
    assert helper.process.returncode is not None


async def test_a_helper_that_is_not_there(transport: Any) -> None:
    with pytest.raises(HelperError, match="cannot start helper /nowhere"):
        async with Helper(["/nowhere"], make_ipc_channel(transport=transport)):
            pytest.fail("the body must not run")


async def test_stop_before_start() -> None:
    helper = Helper(ECHO, make_ipc_channel())
    assert await helper.stop() is None


async def test_impossible_arguments() -> None:
    channel = make_ipc_channel()
    commands: list[Any] = ["echo.py", [], None, [1]]
    for command in commands:
        with pytest.raises(TypeError, match="command"):
            Helper(command, channel)
    with pytest.raises(ValueError, match="grace"):
        Helper(ECHO, channel, grace=-1)
    with pytest.raises(ValueError, match="NUL"):
        Helper(["a\0b"], channel)
    assert Helper([Path("/bin/echo")], channel).command == ["/bin/echo"]
    await channel.close()


async def test_environment_and_directory(tmp_path: Path) -> None:
    body = "await channel.write((os.environ['ONLY'] + os.getcwd()).encode())"
    package = str(Path(__file__).parents[2] / "python")
    helper = Helper(
        main(body),
        make_ipc_channel(),
        env={"ONLY": "this", "PYTHONPATH": package},
        cwd=tmp_path,
    )
    async with helper as channel:
        assert await channel.read() == b"this" + os.fsencode(tmp_path)


LINGERS = """
async def main():
    await channel.connect()
    await channel.write(b'here')
    while await channel.read():
        pass
asyncio.run(main())
"""


async def test_a_helper_that_waits_for_our_end_is_restarted(transport: Any) -> None:
    """Its session has ended for us, and it leaves when it is told so."""
    helper = Helper(
        child(LINGERS), make_ipc_channel(transport=transport, max_message_size=3)
    )
    channel = await helper.start()
    first = helper.process.pid
    with pytest.raises(FrameTooLargeError):
        await channel.read()
    await helper.start()
    assert helper.process.pid != first
    await helper.stop()


async def test_nothing_waits_behind_a_start(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    await helper.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await helper.stop()
    failing = Helper(["/nowhere"], make_ipc_channel(transport=transport))
    with pytest.raises(HelperError):
        await failing.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await failing.stop()


async def test_a_helper_that_does_not_connect_may_clean_up() -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "print(end='.', file=sys.stderr, flush=True)"
        "\nwhile True: time.sleep(0.05)"  # see helper_programs
    )
    helper = Helper([sys.executable, "-S", "-c", code], make_ipc_channel(), timeout=1)
    with pytest.raises(HelperError, match="did not connect"):
        await helper.start()
    assert helper.process.returncode == 7
    await helper.stop()


async def test_what_a_helper_shows() -> None:
    helper = Helper([sys.executable, "-c", "import os\n" + "x" * 300], make_ipc_channel())
    with pytest.raises(HelperError, match="was not started"):
        _ = helper.process
    assert repr(helper).endswith(" not started>")
    assert "\n" not in str(helper)
    assert len(str(helper)) <= 200
    with pytest.raises(HelperError):
        await helper.start()
    assert repr(helper).endswith(" status 1>")
    await helper.stop()
