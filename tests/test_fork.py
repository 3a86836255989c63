"""A forked child holds nothing of its parent's channels, and cannot use them.

The parent must not notice the fork. Peers are raw descriptors, or processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import raw
from descriptors import open_descriptors
from forks import (
    ends,
    forking_service,
    has_ended,
    held_by_a_child,
    in_a_thread,
    in_child,
    is_lock_free,
    run,
)
from ipc_channel import (
    Helper,
    IPCChannelClient,
    TCPSocketProtocol,
    WrongProcessError,
    fork,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import PATIENCE, Raw, frame

EXAMPLES = Path(__file__).parents[1] / "python" / "examples"
ECHO = (sys.executable, str(EXAMPLES / "echo.py"))
PREFORK = (sys.executable, str(Path(__file__).with_name("prefork_server.py")))
WAYS = ["os", "thread", "multiprocessing"]


async def works(ours: IPCChannelClient, peer: Raw) -> None:
    """Send a message each way."""
    await ours.write(b"to the peer")
    assert await asyncio.to_thread(peer.recv_frame) == b"to the peer"
    peer.send(frame(b"from the peer"))
    assert await ours.read() == b"from the peer"


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


async def test_a_child_holds_nothing_of_a_session(
    transport: str, role: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(int)  # so that what the loop opens for threads is there
    before = open_descriptors()
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        theirs = {f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}" for fd in fds_of(peer)}
        listening = {text for text in open_descriptors() if is_raw_listener(text, role)}
        assert held_by_a_child(before | theirs | listening) == []
        await works(ours, peer)


def fds_of(peer: Raw) -> set[int]:
    return {fd for fd in (peer.in_fd, peer.out_fd) if fd is not None}


def is_raw_listener(text: str, role: str) -> bool:
    """Whether a descriptor is the listening socket of a raw server."""
    if role == "server" or " socket:" not in text:
        return False
    with socket.socket(fileno=os.dup(int(text.split(maxsplit=1)[0]))) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


async def test_a_child_holds_nothing_of_a_connect_that_waits(
    transport: str, role: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(int)
    before = open_descriptors()
    ours = raw.make(role, transport, tmp_path)
    connecting = asyncio.create_task(ours.connect(PATIENCE))
    await asyncio.sleep(0.05)  # whatever of it has happened by now
    assert held_by_a_child(before) == []
    connecting.cancel()
    await asyncio.wait({connecting})
    await ours.close()


async def test_a_child_holds_nothing_of_pipes_that_are_half_open(tmp_path: Path) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport="named_pipe")
    connecting = asyncio.create_task(server.connect(PATIENCE))
    await raw.eventually(lambda: any(server.in_path in text for text in open_descriptors()))
    assert held_by_a_child(before) == []
    peer = await asyncio.to_thread(raw.dial, server.out_path, server.in_path)
    assert await connecting, "the parent's connect goes on"
    await works(server, peer)
    peer.close()
    await server.close()


async def test_a_child_holds_no_socket_that_is_connecting() -> None:
    """The queue of the other end is full, so that it stays so."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]
        for sock in queued:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        before = open_descriptors()
        client = make_ipc_channel_client(str(port), str(port))
        connecting = asyncio.create_task(client.connect(PATIENCE))
        await raw.eventually(lambda: bool(open_descriptors() - before))
        assert held_by_a_child(before) == []
        assert not connecting.done()
        connecting.cancel()
        await asyncio.wait({connecting})
        await client.close()
        for sock in queued:
            sock.close()


@contextlib.asynccontextmanager
async def taken_over(
    *, pending: bytes
) -> AsyncIterator[tuple[TCPSocketProtocol, Raw, int]]:
    """A protocol in the very turn in which it took over, whose streams owe ``pending``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        sock, _ = listener.accept()
    peer = Raw(sock.fileno(), sock.fileno(), sock)
    number = writer.get_extra_info("socket").fileno()
    writer.write(pending)
    protocol = TCPSocketProtocol(reader, writer)
    yield protocol, peer, number
    peer.close()
    await protocol.close()


@pytest.mark.parametrize("pending", [0, 10 * 2**20])
async def test_a_child_holds_nothing_of_streams_that_were_taken_over(pending: int) -> None:
    def sockets() -> list[str]:
        return [text for text in open_descriptors() if text.endswith(connection)]

    async with taken_over(pending=bytes(pending)) as (protocol, peer, number):
        connection = os.readlink(f"/proc/self/fd/{number}")
        assert len(sockets()) == 2, "the streams' own, and the protocol's"
        assert in_child(sockets) == []
        assert await asyncio.to_thread(lambda: len(peer.recv(pending))) == pending
        await protocol.write(b"still there")
        assert await asyncio.to_thread(peer.recv_frame) == b"still there"


async def test_a_child_leaves_a_descriptor_alone_whose_number_is_used_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    async with taken_over(pending=b"") as (_, _, number):
        original = os.readlink(f"/proc/self/fd/{number}")

        def is_closed() -> bool:
            path = f"/proc/self/fd/{number}"
            return not os.path.exists(path) or os.readlink(path) != original

        await raw.eventually(is_closed)
        opened = os.open(file, os.O_CREAT | os.O_WRONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        text = in_child(lambda: os.readlink(f"/proc/self/fd/{number}"))
        os.close(number)
        assert text == str(file)


USES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "connect": lambda channel: channel.connect(0),
    "read": lambda channel: channel.read(),
    "write": lambda channel: channel.write(b"x"),
    "disconnect": lambda channel: channel.disconnect(),
    "async with": lambda channel: channel.__aenter__(),
    "async for": lambda channel: channel.__anext__(),
}


def try_in_a_child(channel: Any, uses: Iterable[str] = USES) -> None:
    """Use ``channel`` in a child, in a loop of its own and in none: all must be refused."""

    def work() -> list[str]:
        texts = []
        for name in uses:

            async def attempt(name: str = name) -> None:
                await USES[name](channel)

            with pytest.raises(WrongProcessError) as caught:
                asyncio.run(attempt())
            texts.append(str(caught.value))
            with pytest.raises(WrongProcessError):  # as in the coroutine that forked
                attempt().send(None)
        asyncio.run(channel.close())
        return [*texts, str(os.getpid())]

    *texts, child = in_child(work)
    for text in texts:
        assert (
            f"belongs to process {os.getpid()}, of which process {child} is a fork" in text
        )
        assert "make a channel in each process, after the fork" in text


async def test_a_child_cannot_use_a_connected_channel(
    transport: str, role: str, tmp_path: Path
) -> None:
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        peer.send(frame(b"for the parent"))
        await asyncio.sleep(0.01)
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


async def test_a_child_cannot_use_a_protocol() -> None:
    async with taken_over(pending=b"") as (protocol, peer, _):
        try_in_a_child(protocol, ["read", "write"])
        await protocol.write(b"x")
        assert await asyncio.to_thread(peer.recv_frame) == b"x"


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
        await asyncio.sleep(0.01)
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
        await asyncio.sleep(0.01)
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


class Held:
    """A descriptor that forked children are to close."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("held")
        fork.in_child(self, lambda held: os.close(held.fd))

    def is_open(self) -> bool:
        try:
            os.fstat(self.fd)
        except OSError:
            return False
        return True


def refuse(error: type[BaseException]) -> None:
    raise error


@pytest.mark.parametrize("error", [AttributeError, KeyboardInterrupt])
def test_one_that_cannot_be_let_go_keeps_no_other_open(error: type[BaseException]) -> None:
    all_held = [Held(), Held(), Held()]
    fork.in_child(all_held[1], lambda _: refuse(error))
    closed = in_child(lambda: [not held.is_open() for held in all_held])
    assert closed == [True, False, True]
    assert in_child(lambda: in_child(lambda: in_a_thread(is_lock_free)))
    for held in all_held:
        os.close(held.fd)


def test_a_grandchild_keeps_what_the_child_has_opened() -> None:
    """It has a number that was its grandparent's."""
    held = Held()

    def child() -> bool:
        assert not held.is_open()
        os.dup2(0, held.fd)
        return bool(in_child(held.is_open))

    assert in_child(child)
    os.close(held.fd)


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


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_fork_at_any_moment_leaves_a_child_with_nothing(transport: str) -> None:
    """Another thread forks while channels come and go; each child looks at what it has."""
    await asyncio.to_thread(int)
    before = open_descriptors()
    found: list[list[str]] = []
    stop = threading.Event()

    def fork_on_and_on() -> None:
        while not stop.is_set() and len(found) < 100:
            found.append(held_by_a_child(before))
        stop.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=fork_on_and_on)
    thread.start()
    try:
        while not stop.is_set():
            await meet_and_part(transport)
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        await asyncio.to_thread(thread.join)
    # Directories keep no peer: they are open for a moment while one is made or removed.
    names = [text for held in found for text in held]
    kept = [text for text in names if " socket:" in text or text.endswith(("/in", "/out"))]
    assert kept == []


async def meet_and_part(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    client = make_ipc_channel_client(server.out_path, server.in_path)
    await asyncio.gather(server.connect(PATIENCE), client.connect(PATIENCE))
    await client.close()
    await server.close()


async def test_a_program_that_is_started_inherits_nothing(
    transport: Any, role: str, tmp_path: Path
) -> None:
    """Every descriptor is close-on-exec, also that of a connect which waits."""
    before = open_descriptors()
    async with raw.connected(transport, role, tmp_path) as (ours, peer):
        waiting = make_ipc_channel(transport=transport)
        connecting = asyncio.create_task(waiting.connect(PATIENCE))
        await asyncio.sleep(0.01)
        theirs = fds_of(peer)
        mine = [int(text.split(maxsplit=1)[0]) for text in open_descriptors() - before]
        assert len(mine) > len(theirs)
        assert [fd for fd in mine if os.get_inheritable(fd)] == []
        await works(ours, peer)
        connecting.cancel()
        await asyncio.wait({connecting})
        await waiting.close()


async def test_after_a_close_over_tcp_a_copy_keeps_neither_port_nor_peer() -> None:
    """As a child holds that a C extension has forked, behind the hooks of Python."""
    before = open_descriptors()
    server = make_ipc_channel(transport="tcp")
    peer = await raw.meet(server)
    mine = [int(text.split(maxsplit=1)[0]) for text in open_descriptors() - before]
    copies = [os.dup(fd) for fd in mine if fd not in fds_of(peer)]
    closing = asyncio.create_task(server.close())
    assert await asyncio.to_thread(peer.recv_all) == []
    await closing
    with pytest.raises(ConnectionRefusedError):
        raw.dial(server.out_path, server.in_path)
    with pytest.raises(ConnectionError):
        await asyncio.to_thread(peer.send, bytes(1000 * 65536))
    peer.close()
    for fd in copies:
        os.close(fd)
