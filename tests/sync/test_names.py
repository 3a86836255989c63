"""The blocking module has the names, the arguments and the options of the other one."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import pytest

import ipc_channel
from blocking import connected, make
from ipc_channel import BadRendezvousError, EmptyMessageError, NotConnectedError, sync

CLASSES = {
    "named_pipe": (sync.PosixNamedPipeChannel, sync.PosixNamedPipeChannelClient),
    "unix": (sync.UnixSocketChannel, sync.UnixSocketChannelClient),
    "tcp": (sync.TCPSocketChannel, sync.TCPSocketChannelClient),
}
# What only asyncio has: adopted streams, and the options of an event loop.
NOT_HERE = {"TCPSocketProtocol", "PosixNamedPipeProtocol"}
# What only threads need: asyncio has classes of its own for processes, and cancels handlers.
ONLY_HERE = {"HelperProcess", "request_cancelled"}


def test_every_name_is_that_of_the_asyncio_module() -> None:
    names = set(sync.__all__) - ONLY_HERE
    assert names <= set(ipc_channel.__all__)
    classes = {
        name
        for name in ipc_channel.__all__
        if name.endswith(("Channel", "ChannelClient")) or name.startswith("make_")
    }
    assert classes - NOT_HERE <= names


def arguments(function: Any) -> dict[str, Any]:
    signature = inspect.signature(function)
    return {name: one.default for name, one in signature.parameters.items()}


@pytest.mark.parametrize(
    "name",
    ["make_ipc_channel", "make_ipc_channel_client", "Helper", "HelperPool", "Supervisor"],
)
def test_the_arguments_are_those_of_the_asyncio_module(name: str) -> None:
    theirs = arguments(getattr(ipc_channel, name))
    theirs.pop("loop", None)
    assert arguments(getattr(sync, name)) == theirs


def test_methods_are_those_of_the_asyncio_module() -> None:
    for kind in ("IPCChannelClient", "IPCChannel"):
        theirs = {name for name in dir(getattr(ipc_channel, kind)) if name[0] != "_"}
        ours = {name for name in dir(getattr(sync, kind)) if name[0] != "_"}
        assert ours == theirs | {"write_many"}


def test_a_pool_has_the_methods_of_the_asyncio_module() -> None:
    names = {name for name in dir(ipc_channel.HelperPool) if name[0] != "_"}
    names.remove("usual_ahead")
    assert {name for name in dir(sync.HelperPool) if name[0] != "_"} == names
    for name in names - {"counters", "size"}:
        theirs = arguments(getattr(ipc_channel.HelperPool, name))
        assert arguments(getattr(sync.HelperPool, name)) == theirs


def test_each_transport_has_its_classes(transport: Any, tmp_path: Path) -> None:
    server_class, client_class = CLASSES[transport]
    server = sync.make_ipc_channel(transport=transport)
    client = sync.make_ipc_channel_client(server.out_path, server.in_path)
    assert type(server) is server_class
    assert type(client) is client_class
    assert isinstance(server, sync.IPCChannel)
    assert not isinstance(client, sync.IPCChannel)
    server.close()
    client.close()


def test_the_classes_can_be_made_directly(transport: Any) -> None:
    server_class, client_class = CLASSES[transport]
    logger = logging.getLogger("another")
    server = server_class(logger, linger=0, max_message_size=10)
    client = client_class(
        server.out_path, server.in_path, logger, linger=0, max_message_size=10
    )
    assert not server.connect(0)
    server.close()
    client.close()


def test_options_are_checked(transport: Any) -> None:
    with pytest.raises(ValueError, match="max_message_size"):
        sync.make_ipc_channel(transport=transport, max_message_size=0)
    with pytest.raises(TypeError, match="lingr"):
        sync.make_ipc_channel(transport=transport, lingr=1)  # type: ignore[call-arg]
    with pytest.raises(BadRendezvousError):
        sync.make_ipc_channel_client("nothing", "else")
    loop: Any = {"loop": None}
    with pytest.raises(TypeError, match="loop"):
        sync.make_ipc_channel(transport=transport, **loop)


def test_options_of_unix_sockets(tmp_path: Path) -> None:
    directory = Path("/tmp") / tmp_path.name[-30:]
    directory.mkdir()
    path = directory / "s"
    server = sync.make_ipc_channel(transport="unix", path=path, mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert server.in_path == server.out_path == f"unix:{path}"
    client = sync.make_ipc_channel_client(
        server.out_path, server.in_path, allowed_users=[0]
    )
    server.close()
    client.close()
    for left in directory.iterdir():
        left.unlink()
    directory.rmdir()


def test_the_limit_holds(transport: str, role: str, tmp_path: Path) -> None:
    with connected(transport, role, tmp_path, max_message_size=10) as (ours, peer):
        ours.write(bytes(10))
        assert peer.recv_frame() == bytes(10)
        with pytest.raises(ValueError, match="limit of 10"):
            ours.write(bytes(11))


def test_the_logger_is_used(
    transport: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ipc_channel")
    with connected(transport, "server", tmp_path) as (_, peer):
        peer.close()
    assert "connected" in caplog.text


def test_use_before_connect(role: str, transport: str, tmp_path: Path) -> None:
    ours = make(role, transport, tmp_path)
    for use in (
        ours.read,
        lambda: ours.read(0),
        lambda: ours.write(b"x"),
        lambda: list(ours),
    ):
        with pytest.raises(NotConnectedError):
            use()
    with pytest.raises(NotConnectedError):
        ours.write_many([b"x"])
    ours.disconnect()
    ours.abort()
    assert not ours.connected
    assert ours.end_reason is None
    assert ours.last_exception is None
    ours.close()
    assert ours.read() is None
    assert list(ours) == []


def test_a_with_block_that_finds_no_peer(
    role: str, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make(role, transport, tmp_path)
    connect = ours.connect
    monkeypatch.setattr(ours, "connect", lambda: connect(0))
    with pytest.raises(TimeoutError, match="did not connect in 0 s"), ours:
        pass
    assert ours.read() is None  # it was closed


def test_errors_leave_the_channel_as_it_was(
    transport: str, role: str, tmp_path: Path
) -> None:
    with connected(transport, role, tmp_path) as (ours, peer):
        with pytest.raises(EmptyMessageError):
            ours.write(b"")
        ours.write(b"goes on")
        assert peer.recv_frame() == b"goes on"
