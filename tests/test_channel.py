"""The API of ``aea.helpers.pipe``: every name, argument and default, and our keywords."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ipc_channel
from ipc_channel import (
    PIPE_CONN_TIMEOUT,
    IPCChannel,
    IPCChannelClient,
    PosixNamedPipeChannel,
    TCPSocketChannel,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.options import DEFAULT_LINGER
from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE

BUILD = {"logger": ..., "loop": None}
PATHS = {"in_path": inspect.Parameter.empty, "out_path": inspect.Parameter.empty}
USE = {
    "connect": {"timeout": PIPE_CONN_TIMEOUT},
    "write": {"data": inspect.Parameter.empty},
    "read": {},
    "close": {},
}
API: dict[str, dict[str, Any]] = {
    "PosixNamedPipeProtocol": PATHS | BUILD,
    "TCPSocketProtocol": {
        "reader": inspect.Parameter.empty,
        "writer": inspect.Parameter.empty,
    }
    | BUILD,
    "TCPSocketChannel": BUILD,
    "PosixNamedPipeChannel": BUILD,
    "TCPSocketChannelClient": PATHS | BUILD,
    "PosixNamedPipeChannelClient": PATHS | BUILD,
    "make_ipc_channel": BUILD,
    "make_ipc_channel_client": PATHS | BUILD,
}


def positional(function: Any) -> dict[str, Any]:
    """Return the arguments that can be given by position, with their defaults."""
    return {
        name: ... if name == "logger" else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name != "self"
    }


@pytest.mark.parametrize("name", API)
def test_construction(name: str) -> None:
    assert positional(getattr(ipc_channel, name)) == API[name]


@pytest.mark.parametrize(
    "name", [n for n in API if n.endswith(("Protocol", "Channel", "Client"))]
)
def test_methods(name: str) -> None:
    cls = getattr(ipc_channel, name)
    for method, arguments in USE.items():
        if (name, method) == ("TCPSocketProtocol", "connect"):
            continue  # it is built from an established connection
        function = getattr(cls, method)
        assert inspect.iscoroutinefunction(function)
        assert positional(function) == arguments


def test_defaults() -> None:
    assert PIPE_CONN_TIMEOUT == 10.0
    assert DEFAULT_LINGER == 1.0
    assert DEFAULT_MAX_MESSAGE_SIZE == 64 * 2**20


def test_interfaces() -> None:
    assert issubclass(IPCChannel, IPCChannelClient)
    assert IPCChannelClient.__abstractmethods__ == {"connect", "write", "read", "close"}
    assert IPCChannel.__abstractmethods__ == {*USE, "in_path", "out_path"}


def test_nothing_but_the_standard_library_is_needed() -> None:
    """Type checkers have more, users may have nothing (-S: no site-packages)."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import ipc_channel"
    where = Path(ipc_channel.__file__).parents[1]
    subprocess.run([sys.executable, "-S", "-E", "-c", code, where], check=True)


def test_everything_public_exists() -> None:
    assert sorted(ipc_channel.__all__) == sorted(set(ipc_channel.__all__))
    for name in ipc_channel.__all__:
        assert hasattr(ipc_channel, name), name


@pytest.mark.parametrize(
    ("given", "kind"),
    [("named_pipe", PosixNamedPipeChannel), ("tcp", TCPSocketChannel)],
)
async def test_transport(given: Any, kind: type[IPCChannel]) -> None:
    channel = make_ipc_channel(transport=given)
    assert type(channel) is kind
    await channel.close()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"transport": "pigeon"}, ValueError),
        ({"transport": ""}, ValueError),
        ({"transport": 1}, ValueError),
        ({"linger": 10**400}, ValueError),
        ({"loop": 3}, TypeError),
        ({"max_message_size": 0}, ValueError),
        ({"max_message_size": "big"}, TypeError),
        ({"linger": -1}, ValueError),
        ({"linger": None}, TypeError),
        ({"lingr": 1}, TypeError),
        ({"logger": None}, TypeError),
        ({"logger": "root"}, TypeError),
    ],
)
@pytest.mark.parametrize("transport", ["named_pipe", "tcp"])
def test_impossible_options(
    options: dict[str, Any], error: type[Exception], transport: Any
) -> None:
    with pytest.raises(error):
        make_ipc_channel(**{"transport": transport, **options})
    if "transport" not in options:
        with pytest.raises(error):
            make_ipc_channel_client("5000", "5000", **options)


async def test_the_longest_linger() -> None:
    make_ipc_channel_client("5000", "5000", linger=10**9)
    with pytest.raises(ValueError, match="not within 0 and 1000000000 seconds"):
        make_ipc_channel_client("5000", "5000", linger=10**9 + 1)


@pytest.mark.parametrize("transport", ["named_pipe", "tcp"])
async def test_what_a_channel_shows(
    transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server = make_ipc_channel(transport=transport)
    client = make_ipc_channel_client(server.out_path, server.in_path)
    assert repr(server).endswith(" not connected>")
    connecting = asyncio.create_task(server.connect())
    await asyncio.sleep(0)
    assert repr(server).endswith(" connecting>")
    assert await client.connect()
    assert await connecting
    assert repr(server).endswith(" connected>")
    await client.close()
    assert await server.read() is None
    assert repr(server).endswith(" ended: clean>")
    await server.close()
    assert repr(server).endswith(" closed>")
    name = repr(server)[1 : -len(" closed>")]
    said = [record.getMessage() for record in caplog.records]
    assert f"{name}: connected" in said
    assert f"{name}: session ended: clean" in said


async def test_a_channel_is_no_value(transport: Any) -> None:
    server = make_ipc_channel(transport=transport)
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            way(server)
    await server.close()
