"""A forked child cannot use its parent's channels, and disturbs nothing.

The parent must not notice the fork. Peers are raw descriptors, or processes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import raw
from forks import (
    USES,
    ends,
    forking_service,
    has_ended,
    in_child,
    run,
    try_in_a_child,
    works,
)
from ipc_channel import (
    Helper,
    WrongProcessError,
    make_ipc_channel,
    make_ipc_channel_client,
)
from library_helpers import ECHO
from raw import PATIENCE, frame
from waiting import until_blocked

PREFORK = (sys.executable, str(Path(__file__).with_name("prefork_server.py")))
WAYS = ["os", "thread", "multiprocessing"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", WAYS)
def test_a_helper_ends_with_its_service_though_a_worker_lives(
    transport: str, loop: str, way: str
) -> None:
    with forking_service(transport, loop, way, ECHO) as service:
        worker, helper = map(os.pidfd_open, service.told())
        service.kill()
        assert ends(helper)
        assert not has_ended(worker, 0)
        os.close(helper)
    assert ends(worker)
    os.close(worker)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", WAYS)
def test_an_orderly_close_ends_all_though_a_worker_lives(
    transport: str, loop: str, way: str
) -> None:
    with forking_service(transport, loop, way) as service:
        paths = service.told()
        peer = raw.dial(*paths)
        worker = os.pidfd_open(service.told()[0])
        service.close()
        assert peer.recv_all() == []
        assert peer.is_ended()
        with pytest.raises(ConnectionError):  # and not a pipe, or buffers, that fill up
            while True:
                peer.send(bytes(65536))
        if transport == "tcp":
            with pytest.raises(ConnectionRefusedError):
                raw.dial(*paths)
        peer.close()
        assert not has_ended(worker, 0)
    assert ends(worker)
    os.close(worker)


async def test_a_child_cannot_use_a_connected_channel(
    transport: str, role: str, tmp_path: Path
) -> None:
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        peer.send(frame(b"for the parent"))
        await raw.eventually(lambda: ours.session.queued == 1)  # type: ignore[attr-defined]  # looks inside
        try_in_a_child(ours)
        assert await ours.read() == b"for the parent"
        await works(ours, peer)


@pytest.mark.parametrize("state", ["new", "connecting", "closed"])
async def test_a_child_cannot_use_a_channel_in_any_state(
    state: str, transport: str, role: str, tmp_path: Path
) -> None:
    ours = raw.make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE if state == "connecting" else 0))
    await asyncio.sleep(0 if state == "new" else 0.01)
    if state == "closed":
        await ours.close()
        # To read is an orderly end then, in every process.
        try_in_a_child(ours, USES.keys() - {"read", "async for"})
    else:
        try_in_a_child(ours)
    connecting.cancel()
    await asyncio.wait({connecting})
    await ours.close()


async def test_a_closed_channel_of_a_child_frees_nothing_of_its_parent(
    transport: str, role: str, tmp_path: Path
) -> None:
    async with raw.connected(transport, role, tmp_path) as (ours, peer):

        def work() -> str:
            asyncio.run(ours.close())
            asyncio.run(ours.close())
            return repr(ours)

        assert f"of process {os.getpid()}>" in in_child(work)
        await works(ours, peer)


async def test_a_child_that_drops_everything_disturbs_nothing(
    transport: str, role: str, tmp_path: Path
) -> None:
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        held = [ours]

        def work() -> None:
            held.clear()
            gc.collect()

        in_child(work)
        await works(ours, peer)


async def test_a_child_can_make_its_own_with_the_same_numbers(
    transport: Any, tmp_path: Path
) -> None:
    """What its parent's channel had is free in the child, and stays the new channel's."""
    async with raw.connected(transport, "server", tmp_path) as (ours, peer):
        held = [ours]

        async def meet() -> str:
            server = make_ipc_channel(transport=transport)
            client = make_ipc_channel_client(server.out_path, server.in_path)
            await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE))
            await held.pop().close()
            gc.collect()
            await client.write(b"in the child")
            message = await server.read()
            await client.close()
            await server.close()
            assert message
            return message.decode()

        assert in_child(lambda: asyncio.run(meet())) == "in the child"
        await works(ours, peer)


async def test_a_write_that_waits_goes_on_after_a_fork(
    transport: str, role: str, tmp_path: Path
) -> None:
    message = os.urandom(32 * 2**20)  # more than the kernel takes of a socket
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        writing = asyncio.create_task(ours.write(message))
        await until_blocked(ours)
        assert not writing.done()
        await asyncio.to_thread(in_child, int)
        assert await asyncio.to_thread(peer.recv_frame) == message
        await writing


async def test_a_helper_belongs_to_the_process_that_made_it(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))

    async def leave_the_block() -> None:
        await helper.__aexit__(None, None, None)

    def work() -> None:
        for use in (helper.start, helper.stop):
            with pytest.raises(WrongProcessError):
                asyncio.run(use())
        asyncio.run(leave_the_block())

    async with helper as channel:
        in_child(work)
        await channel.write(b"hello")
        assert await channel.read() == b"hello"


def test_a_child_that_unwinds_its_parents_frames_does_no_harm(transport: Any) -> None:
    """It leaves ``async with``, cancels tasks and closes the loop, as sys.exit makes it."""
    command = [sys.executable, "-W", "ignore", "-c", UNWINDING, transport, *ECHO]
    assert run(command) == (0, "helped, 0\n")


UNWINDING = """
import asyncio, os, sys
from ipc_channel import Helper, make_ipc_channel, make_ipc_channel_client

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # it may be in debug mode
    transport, *command = sys.argv[1:]
    waiting = make_ipc_channel(transport=transport)
    starting = Helper(["sleep", "1000"], make_ipc_channel(transport=transport))
    tasks = [asyncio.create_task(waiting.connect()), asyncio.create_task(starting.start())]
    while 'pid' not in repr(starting):
        await asyncio.sleep(0.001)
    async with Helper(command, make_ipc_channel(transport=transport)) as channel:
        reading = asyncio.create_task(channel.read())
        await asyncio.sleep(0)
        child = os.fork()
        if child == 0:
            sys.exit()
        status = os.waitpid(child, 0)[1]
        assert starting.process.returncode is None
        os.kill(starting.process.pid, 0)
        os.stat(waiting.in_path) if transport == "named_pipe" else None
        await channel.write(b"helped")
        print((await reading).decode(), end=", ")
    print(status)
    sys.stdout.flush()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await waiting.close()
    await starting.stop()

asyncio.run(main())
"""


def test_workers_that_are_forked_early_have_channels_of_their_own(transport: str) -> None:
    said = "4 workers, 800 answers, 8 refusals\n"
    assert run([*PREFORK, transport, *ECHO]) == (0, said)


async def test_a_child_with_the_number_of_its_parent_is_another_process(
    transport: Any,
) -> None:
    """As one can be in a namespace of its own, or a late grandchild."""
    parent = os.getpid()
    server = make_ipc_channel(transport=transport)

    def child() -> None:
        os.getpid = lambda: parent
        with pytest.raises(WrongProcessError):
            asyncio.run(server.connect(0))
        asyncio.run(server.close())

    in_child(child)
    assert not await server.connect(0), "it is as it was"
    if transport == "named_pipe":
        assert os.path.exists(server.in_path)
    await server.close()
