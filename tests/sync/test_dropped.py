"""What a blocking channel holds, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from blocking import Call, connected, driver_of, make, meet, pair, until_waiting
from descriptors import no_descriptor_left, open_descriptors
from ipc_channel.sync import (
    Helper,
    IPCChannelClient,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import PATIENCE, Raw, Rendezvous, frame


def test_nothing_is_left_after_close(transport: Any, role: str, tmp_path: Path) -> None:
    before = open_descriptors()
    for _ in range(3):
        with connected(transport, role, tmp_path / str(_)) as (ours, peer):
            reader = Call(ours.read)  # a second thread makes the loop hold a waker
            until_waiting(ours)
            with pytest.raises(TimeoutError):
                ours.read(0.01)
            peer.send(frame(b"x"))
            assert reader.result() == b"x"
            ours.close()
            peer.close()
        assert open_descriptors() == before


@pytest.fixture(autouse=True)
def directories(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()


def test_nothing_is_left_without_a_session(
    transport: str, role: str, tmp_path: Path
) -> None:
    before = open_descriptors()
    ours = make(role, transport, tmp_path)
    assert open_descriptors() != before
    ours.close()
    assert open_descriptors() == before
    ours = make(role, transport, tmp_path)
    assert not ours.connect(0)
    ours.disconnect()
    ours.abort()
    ours.close()
    assert open_descriptors() == before


def test_a_server_that_is_dropped_warns(transport: Any) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del server
        gc.collect()
    assert open_descriptors() == before


@pytest.mark.parametrize("read", [False, True])
def test_a_channel_that_is_dropped_warns(
    transport: Any, role: str, tmp_path: Path, read: bool
) -> None:
    before = open_descriptors()
    with pytest.warns(ResourceWarning, match="unclosed"):
        peer = drop(transport, role, tmp_path / "0", read)
        gc.collect()
    assert peer.is_ended()
    peer.close()
    assert open_descriptors() == before


def drop(transport: Any, role: str, directory: Path, read: bool) -> Raw:
    """Connect a channel, and forget it."""
    ours: IPCChannelClient
    if role == "server":
        ours = server = make_ipc_channel(transport=transport)
        peer = meet(server)
    else:
        rendezvous = Rendezvous(transport, directory)
        ours = make_ipc_channel_client(rendezvous.out_path, rendezvous.in_path)
        accepting = Call(rendezvous.accept)
        assert ours.connect(PATIENCE)
        peer = accepting.result()
        rendezvous.close()
    if read:
        peer.send(frame(b"x") * 3)
        assert ours.read() == b"x"
    return peer


def test_a_client_that_is_dropped_unconnected_leaves_nothing(tmp_path: Path) -> None:
    before = open_descriptors()
    make("client", "unix", tmp_path)
    gc.collect()
    assert open_descriptors() == before


def test_a_helper_that_is_dropped_unstarted(recwarn: pytest.WarningsRecorder) -> None:
    before = open_descriptors()
    with pytest.warns(ResourceWarning, match="unclosed"):
        Helper([sys.executable])
        gc.collect()
    assert open_descriptors() == before


def test_neither_copied_nor_pickled(transport: Any, role: str, tmp_path: Path) -> None:
    ours = make(role, transport, tmp_path)
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            way(ours)
    ours.close()


def test_in_a_thread_that_has_ended(transport: Any) -> None:
    """Made in one thread, connected in a second, used in a third, closed here."""
    server = Call(make_ipc_channel, transport=transport).result()
    client = Call(make_ipc_channel_client, server.out_path, server.in_path).result()
    connecting = Call(client.connect, PATIENCE)
    assert Call(server.connect, PATIENCE).result()
    assert connecting.result()
    Call(client.write, b"x").result()
    Call(client.write, bytes(100)).result()
    assert Call(server.read).result() == b"x"
    assert server.read() == bytes(100)
    closing = Call(client.close)
    assert Call(server.read).result() is None
    server.close()
    closing.result()


def test_without_a_descriptor_for_the_loop(transport: Any) -> None:
    before = open_descriptors()
    with no_descriptor_left():
        with pytest.raises(OSError, match="Too many open files"):
            make_ipc_channel(transport=transport)
        with pytest.raises(OSError, match="Too many open files"):
            make_ipc_channel_client("unix:/none", "unix:/none")
    gc.collect()
    assert open_descriptors() == before


def test_without_a_descriptor_for_a_second_thread(transport: Any) -> None:
    """A close that cannot make a waker fails, and the next one does the rest."""
    with pair(transport) as (server, _):
        reader = Call(server.read)
        until_waiting(server)
        with no_descriptor_left(), contextlib.suppress(OSError):
            server.close()  # it may free some before it needs one
        server.close()
        assert reader.result() is None
        assert not driver_of(server).waiting


def test_repr(transport: Any, role: str, tmp_path: Path) -> None:
    ours: IPCChannelClient = make(role, transport, tmp_path)
    assert "not connected" in repr(ours)
    ours.close()
    assert "closed" in repr(ours)


def test_many_sessions_and_channels(transport: Any) -> None:
    before = open_descriptors()
    server = make_ipc_channel(transport=transport)
    for number in range(20):
        client = make_ipc_channel_client(server.out_path, server.in_path)
        connecting = Call(client.connect, PATIENCE)
        assert server.connect(PATIENCE)
        assert connecting.result()
        client.write(b"%d" % number)
        assert server.read() == b"%d" % number
        closing = Call(client.close)
        assert server.read() is None
        server.disconnect()
        closing.result()
    server.close()
    del client
    gc.collect()
    assert open_descriptors() == before
