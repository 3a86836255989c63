"""A forked child cannot use its parent's blocking channels, and disturbs nothing."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blocking import (
    Call,
    Connect,
    driver_of,
    make,
    pair,
    session_of,
    until_blocked,
    until_waiting,
)
from descriptors import open_descriptors
from forks import held_by_a_child, in_child
from ipc_channel import WrongProcessError
from ipc_channel.sync import (
    IPCChannelClient,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import PATIENCE, Raw, frame

USES: dict[str, Callable[[IPCChannelClient], object]] = {
    "connect": lambda channel: channel.connect(0),
    "read": lambda channel: channel.read(),
    "read in time": lambda channel: channel.read(0.01),
    "write": lambda channel: channel.write(b"x"),
    "write more": lambda channel: channel.write(bytes(100_000)),
    "write many": lambda channel: channel.write_many([b"x"]),
    "disconnect": lambda channel: channel.disconnect(),
    "with": lambda channel: channel.__enter__(),
    "for": list,
}


def try_in_a_child(channel: IPCChannelClient, uses: set[str] | None = None) -> None:
    """Use ``channel`` in a child: all must be refused, and nothing may hang."""

    def work() -> None:
        for name, use in USES.items():
            if uses is None or name in uses:
                with pytest.raises(
                    WrongProcessError, match="make a channel in each process"
                ):
                    use(channel)
        assert not channel.connected
        assert channel.end_reason is channel.end_reason
        assert channel.last_exception is channel.last_exception
        channel.abort()
        channel.close()
        channel.close()
        assert "of process" in repr(channel)

    in_child(work)


def works(ours: IPCChannelClient, peer: Raw) -> None:
    """Send a message each way."""
    ours.write(b"to the peer")
    assert peer.recv_frame() == b"to the peer"
    peer.send(frame(b"from the peer"))
    assert ours.read() == b"from the peer"


def test_a_connected_channel(connect: Connect) -> None:
    with connect() as (ours, peer):
        try_in_a_child(ours)
        peer.send(frame(b"for the parent") * 2)
        assert ours.read() == b"for the parent"
        try_in_a_child(ours)  # with a message that has arrived
        assert ours.read() == b"for the parent"
        works(ours, peer)


@pytest.mark.parametrize("state", ["new", "closed"])
def test_a_channel_without_a_session(
    state: str, transport: str, role: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)
    if state == "closed":
        ours.close()
        # To read is an orderly end then, in every process.
        try_in_a_child(ours, USES.keys() - {"read", "read in time", "for"})
    else:
        try_in_a_child(ours)
    ours.close()


def test_a_child_holds_nothing(transport: Any) -> None:
    before = open_descriptors()
    with pair(transport) as (server, client):
        reader = Call(server.read)
        until_waiting(server)
        with pytest.raises(TimeoutError):
            server.read(0.001)  # now the loop has a waker, too
        assert held_by_a_child(before) == []
        client.write(b"x")
        assert reader.result() == b"x"


def test_while_other_threads_wait(connect: Connect) -> None:
    """Whatever they hold at that moment, the child is refused at once."""
    with connect() as (ours, peer):
        writer = Call(ours.write, bytes(10**7))
        until_blocked(ours)
        readers = [Call(ours.read) for _ in range(3)]
        until_waiting(ours, 4)
        for _ in range(5):
            try_in_a_child(ours)
        assert peer.recv_frame() == bytes(10**7)
        writer.result()
        for _ in readers:
            peer.send(frame(b"x"))
        assert [reader.result() for reader in readers] == [b"x"] * 3
        works(ours, peer)


def test_from_another_thread_while_this_one_waits(connect: Connect) -> None:
    with connect() as (ours, peer):

        def work() -> None:
            until_waiting(ours)
            try_in_a_child(ours)
            peer.send(frame(b"after the fork"))

        forking = Call(work)
        assert ours.read() == b"after the fork"
        forking.result()


def test_in_the_midst_of_a_step(connect: Connect) -> None:
    """The lock is held then, and the loop is busy: in the child neither is."""
    with connect() as (ours, peer):
        stream = session_of(ours).stream
        read = stream.read
        forked: list[object] = []

        def read_and_fork(size: int) -> bytes:
            if not forked:
                forking = Call(try_in_a_child, ours)
                forking.result()
                forked.append(forking)
            return bytes(read(size))

        stream.read = read_and_fork
        for timeout in (None, PATIENCE):
            forked.clear()
            peer.send(frame(b"x"))
            assert ours.read(timeout) == b"x"
            assert forked
        del stream.read


def test_a_child_that_drops_everything_disturbs_nothing(connect: Connect) -> None:
    with connect() as (ours, peer):
        held = [ours]

        def work() -> None:
            held.clear()
            gc.collect()

        in_child(work)
        works(ours, peer)
        assert driver_of(ours).leader == 0


def test_a_child_can_make_its_own(transport: Any) -> None:
    with pair(transport) as (server, client):

        def work() -> str:
            own = make_ipc_channel(transport=transport)
            others = make_ipc_channel_client(own.out_path, own.in_path)
            connecting = Call(others.connect, PATIENCE)
            assert own.connect(PATIENCE)
            assert connecting.result()
            server.close()
            others.write(b"in the child")
            got = own.read()
            closing = Call(others.close)
            own.close()
            closing.result()
            return (got or b"").decode()

        assert in_child(work) == "in the child"
        server.write(b"in the parent")
        assert client.read() == b"in the parent"


def test_the_peer_sees_the_end_though_a_child_lives(connect: Connect) -> None:
    with connect() as (ours, peer):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(writer)
                os.read(reader, 1)  # until the parent has closed
            finally:
                os._exit(0)
        taking = Call(peer.recv_all)
        ours.close()
        assert taking.result() == []
        assert peer.is_ended()
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)
