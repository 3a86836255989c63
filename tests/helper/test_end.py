"""How a helper ends when several things come together, and what is never signalled."""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import time
from typing import Any

import pytest

from helper_programs import BEHAVES, DIES, IGNORES, connected, told, with_child
from ipc_channel import Helper, HelperError, make_ipc_channel, make_ipc_channel_client
from ipc_channel.helper.lifecycle import Limits
from process_tree import lives
from raw import PATIENCE, dial, eventually
from waiting import until_connect_waits

SLEEPS = ["/bin/sleep", "1000"]


async def test_a_start_that_is_stopped_says_so(transport: Any) -> None:
    channel = make_ipc_channel(transport=transport)
    helper = Helper(SLEEPS, channel, timeout=PATIENCE, grace=0.1)
    starting = asyncio.create_task(helper.start())
    await eventually(lambda: helper._life.process is not None)
    assert await helper.stop() == -signal.SIGTERM
    with pytest.raises(
        HelperError, match="sleep 1000 was stopped while it was being started"
    ):
        await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("turns", range(4))
async def test_a_start_that_is_stopped_as_it_begins(transport: Any, turns: int) -> None:
    channel = make_ipc_channel(transport=transport)
    helper = Helper(SLEEPS, channel, timeout=PATIENCE, grace=0.1)
    starting = asyncio.create_task(helper.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    status = await helper.stop()
    assert status in {None, -signal.SIGTERM}
    with pytest.raises((HelperError, ConnectionError), match=r"was stopped|was closed"):
        await starting


async def test_a_channel_that_is_closed_under_a_start(transport: Any) -> None:
    helper = Helper(SLEEPS, make_ipc_channel(transport=transport), timeout=PATIENCE)
    starting = asyncio.create_task(helper.start())
    await eventually(lambda: helper._life.process is not None)
    await helper.channel.close()
    with pytest.raises(HelperError, match="had not connected when the channel was closed"):
        await starting
    await helper.stop()


async def test_a_block_that_is_refused_leaves_the_first_alone(transport: Any) -> None:
    helper = Helper(BEHAVES, make_ipc_channel(transport=transport))
    first = asyncio.create_task(helper.start())
    await asyncio.sleep(0)
    for text in (
        "is being started already: wait for that call",
        "is running; to replace it, disconnect",
    ):
        with pytest.raises(HelperError, match=text):
            async with helper:
                pytest.fail("the body must not run")
        channel = await first
    assert channel.connected
    await channel.write(b"hello")
    assert await helper.stop() == 0


async def test_a_block_does_not_close_the_channel_of_another_peer(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    client = make_ipc_channel_client(server.out_path, server.in_path)
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another connect is waiting"):
        async with Helper(DIES, server):
            pytest.fail("the body must not run")
    assert await client.connect(PATIENCE)
    assert await connecting
    with pytest.raises(HelperError, match="has a peer already"):
        async with Helper(DIES, server):
            pytest.fail("the body must not run")
    await server.write(b"still there")
    assert await client.read() == b"still there"
    await client.close()
    await server.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_start_that_is_refused_leaves_a_peer_that_comes_just_then(
    turns: int,
) -> None:
    """It is that of the connect which was there before."""
    server = make_ipc_channel(transport="tcp")
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await until_connect_waits(server)
    starting = asyncio.create_task(Helper(DIES, server).start())
    for _ in range(turns):
        await asyncio.sleep(0)
    peer = dial(server.out_path, server.in_path)
    with pytest.raises(
        RuntimeError, match=r"another connect is waiting|has a peer already"
    ):
        await starting
    assert await connecting
    await server.write(b"still there")
    assert await asyncio.to_thread(peer.recv_frame) == b"still there"
    peer.close()
    await server.close()


async def test_a_stop_cancelled_while_it_closes_waits_for_nothing(transport: Any) -> None:
    channel = make_ipc_channel(transport=transport, linger=PATIENCE)
    helper = Helper(IGNORES, channel, grace=PATIENCE)
    await helper.start()
    assert await channel.read() == b"deaf"  # or its write would fail, and end it
    writes = [asyncio.create_task(channel.write(bytes(400_000))) for _ in range(30)]
    await asyncio.sleep(0)
    stopping = asyncio.create_task(helper.stop())
    await asyncio.sleep(0)
    begin = time.monotonic()
    for _ in range(3):
        stopping.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert helper.process.returncode == -signal.SIGKILL
    assert time.monotonic() - begin < PATIENCE / 2
    await asyncio.gather(*writes, return_exceptions=True)


async def test_two_stops_ask_once(transport: Any) -> None:
    code = """
import _signal, time
_signal.signal(_signal.SIGTERM, lambda *_: (time.sleep(0.1), os._exit(asked.append(1) or len(asked))))
asked = []
os.write(w, b"\\0\\0\\0\\4deaf")
while True: time.sleep(0.05)
"""
    helper = Helper(connected(code), make_ipc_channel(transport=transport), grace=0.05)
    assert await (await helper.start()).read() == b"deaf"
    helper._life.limits = Limits(PATIENCE, PATIENCE)
    await helper.channel.close()
    stops = [asyncio.create_task(helper._life._end(helper.process, 0)) for _ in range(2)]
    await asyncio.gather(*stops)
    assert helper.process.returncode == 1


async def test_a_timeout_of_nothing(transport: Any) -> None:
    helper = Helper(BEHAVES, make_ipc_channel(transport=transport))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await helper.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await helper.start()
    await helper.stop()


async def test_a_task_group_that_fails(transport: Any) -> None:
    helper = Helper(IGNORES, make_ipc_channel(transport=transport), grace=PATIENCE)
    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(helper.start())
            await eventually(lambda: helper._life.process is not None)
            raise KeyError
    assert len(failed.value.exceptions) == 1
    assert starting.cancelled()
    assert helper.process.returncode == -signal.SIGKILL
    await helper.stop()


async def test_the_signal_has_its_name(transport: Any) -> None:
    command = ["/bin/sh", "-c", "kill -KILL $$"]
    helper = Helper(command, make_ipc_channel(transport=transport), timeout=PATIENCE)
    with pytest.raises(HelperError) as failed:
        await helper.start()
    pid = helper.process.pid
    assert re.search(
        rf"\(pid {pid}\) was killed by SIGKILL before it connected; it wrote nothing to standard error",
        str(failed.value),
    )
    with pytest.raises(ProcessLookupError):
        helper.process.terminate()
    await helper.stop()


async def test_what_to_do_when_nobody_connects(transport: Any) -> None:
    helper = Helper(SLEEPS, make_ipc_channel(transport=transport), timeout=0.1)
    with pytest.raises(HelperError) as failed:
        await helper.start()
    text = str(failed.value)
    assert "did not connect in 0.1 s" in text
    assert "IPC_CHANNEL_IN and IPC_CHANNEL_OUT" in text
    assert helper.channel.in_path in text, "how it was tried"
    await helper.stop()


async def test_a_helper_that_is_dropped_is_killed(transport: Any) -> None:
    channel = make_ipc_channel(transport=transport)
    helper = Helper(with_child(""), channel)
    left = await told(await helper.start())
    pid = helper.process.pid
    with pytest.warns(ResourceWarning, match=f"helper process {pid} was killed"):
        del helper
        gc.collect()
    await eventually(lambda: not lives(pid) and not lives(left))
    await channel.close()
