"""The message of an error says what to do about it, not only what is wrong."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from ipc_channel import (
    ChannelClosedError,
    ConnectTimeoutError,
    Helper,
    from_environment,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import meet

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"lingr": 1}, "'lingr'; did you mean 'linger'"),
    ({"max_message_size": "big"}, "a number of bytes, an int, not str"),
    ({"max_message_size": 0}, "is 0, not within 1 and 4294967295 bytes; leave it out for"),
    ({"linger": "1"}, "a number of seconds, an int or a float, not str"),
    ({"linger": -1}, "is -1, not within 0 and 1000000000 seconds"),
    ({"logger": "root"}, "not str; use logging.getLogger(name)"),
    ({"loop": 3}, "not int; leave it out for the running one"),
    (
        {"transport": "unknown"},
        "'unknown', not 'named_pipe' or 'unix' or 'tcp'; leave it out",
    ),
    (
        {"transport": "tcp", "allowed_users": 1000},
        "such as [1000] or ['www-data'], not 1000",
    ),
    ({"transport": "named_pipe", "allowed_users": [1]}, "needs transport='unix' or 'tcp'"),
    ({"transport": "unix", "allowed_users": ["x y"]}, "'x y', which is no user of this"),
    ({"transport": "unix", "mode": 0o600}, "at a path of your choice: give path="),
    ({"transport": "unix", "path": "x", "mode": 0o66}, "cannot connect; add 0o600"),
    ({"transport": "tcp", "path": "x"}, "path needs transport='unix', not 'tcp'"),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make_ipc_channel(**options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Path("/tmp/in"), "in_path is a str, not PosixPath: use os.fspath(path)"),
        (b"/tmp/in", "in_path is a str, not bytes: use os.fsdecode(path)"),
        (5000, "in_path is a str, not int"),
    ],
)
def test_paths(value: Any, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        make_ipc_channel_client(value, value)
    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["IPC_CHANNEL_IN", "IPC_CHANNEL_OUT"])
@pytest.mark.covers("RDV-8")
def test_a_helper_that_is_run_by_hand(name: str) -> None:
    told = {"IPC_CHANNEL_IN": "5000", "IPC_CHANNEL_OUT": "5000"}
    del told[name]
    with pytest.raises(ValueError) as caught:
        from_environment(told)
    assert str(caught.value) == (
        f"environment variable {name} is missing or empty: this program is to be started by"
        " a service, which sets it (in Python, ipc_channel.Helper does); to start it by hand,"
        " set IPC_CHANNEL_IN to the server's out_path and IPC_CHANNEL_OUT to its in_path"
    )


def test_an_environment_that_is_none() -> None:
    with pytest.raises(TypeError, match=r"a mapping such as os\.environ, not list"):
        from_environment([])  # type: ignore[arg-type]  # on purpose


COMMANDS: list[tuple[Any, str]] = [
    ("go/echo", 'program and its arguments, not str; pass ["go/echo"]'),
    ("./echo -v 'a b'", 'not str; pass ["./echo", "-v", "a b"]'),
    ("it's", 'not str; pass ["it\'s"]'),
    ("", 'not str; pass ["./helper"]'),
    (Path("go/echo"), 'not PosixPath; pass ["go/echo"]'),
    (b"echo", 'not bytes; pass for example ["./helper"]'),
    (None, 'not NoneType; pass for example ["./helper"]'),
    ({"echo"}, "not set; "),
    ({"echo": 1}, "not dict; "),
    ([], "command is empty: its first element is the program to start"),
    (["echo", 1], 'command[1] is a str or a path, not int: pass "1"'),
    (["echo", None], "command[1] is a str or a path, not NoneType"),
    (["echo", b"x"], "command[1] is a str or a path, not bytes: use os.fsdecode("),
    (["a\0b"], "command[0] has a NUL byte"),
]
HELPERS: list[tuple[dict[str, Any], str]] = [
    *(({"command": command}, said) for command, said in COMMANDS),
    ({"cwd": 3}, "cwd is a str or a path, not int; leave it out for ours"),
    ({"cwd": b"/tmp"}, "cwd is a str or a path, not bytes: use os.fsdecode(cwd)"),
    ({"cwd": "/\0"}, "cwd has a NUL byte"),
    (
        {"env": "A=1"},
        'not str; to add variables to ours pass for example add_env={"NAME": "value"}',
    ),
    ({"env": ["A=1"]}, "env is a mapping of str to str, not list; "),
    ({"env": {"A": 1}}, "env has 'A': 1, which are not both strings: use str()"),
    ({"env": {"A=B": "1"}}, "env has the name 'A=B': it must not be empty or have a ="),
    ({"env": {"": "1"}}, "env has the name '': it must not"),
    ({"env": {"A": "\0"}}, "env['A'] has a NUL byte"),
    ({"timeout": "1"}, "timeout is a number of seconds, an int or a float, not str"),
    ({"grace": None}, "grace is a number of seconds, an int or a float, not NoneType"),
    ({"grace": float("nan")}, "grace is nan, not within 0 and 1000000000 seconds"),
    ({"process_group": 1}, "process_group is True or False, not int"),
    ({"channel": 5000}, "not int; pass what make_ipc_channel() returns"),
    ({"channel": make_ipc_channel}, "not function; pass what make_ipc_channel() returns"),
]


@pytest.mark.parametrize(("options", "said"), HELPERS)
async def test_arguments_of_a_helper(options: dict[str, Any], said: str) -> None:
    """They are looked at before anything is started."""
    async with _Server() as channel:
        with pytest.raises((TypeError, ValueError)) as caught:
            Helper(**{"command": ["echo"], "channel": channel, **options})
        assert said in str(caught.value)


class _Server:
    """A server without a helper, which is closed in the end."""

    async def __aenter__(self) -> Any:
        self._channel = make_ipc_channel(transport="tcp")
        return self._channel

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()


async def test_a_channel_that_was_closed(transport: Any) -> None:
    channel = make_ipc_channel(transport=transport)
    peer = await meet(channel)
    await channel.disconnect()
    with pytest.raises(ChannelClosedError, match="after disconnect or abort call connect"):
        await channel.write(b"x")
    await channel.close()
    with pytest.raises(ChannelClosedError, match="after close make a new channel"):
        await channel.write(b"x")
    with pytest.raises(
        ChannelClosedError, match=r"was closed: make a new one \(disconnect"
    ):
        await channel.connect()
    peer.close()


async def test_a_closed_channel_that_was_never_connected(transport: Any) -> None:
    channel = make_ipc_channel(transport=transport)
    await channel.close()
    with pytest.raises(ChannelClosedError, match="was closed: make a new one"):
        await channel.write(b"x")


async def test_nobody_came_over_tcp() -> None:
    async with _Server() as server:
        assert not await server.connect(0)
        missed = server.last_exception
        assert isinstance(missed, ConnectTimeoutError)
        port = server.in_path
        assert str(missed).endswith(
            "no client connected; check that it is running, and that both of its paths are"
            f" '{port}'"
        )
    client = make_ipc_channel_client(port, port)
    assert not await client.connect(0)
    assert str(client.last_exception).endswith(
        "refused; check that the service is running, and that both paths are its in_path"
    )
    await client.close()


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
async def test_what_belongs_to_a_process(way: Any) -> None:
    async with _Server() as channel:
        with pytest.raises(TypeError, match="make the channel in the process that uses it"):
            way(channel)
        with pytest.raises(TypeError, match="make the Helper in the child process"):
            way(Helper(["echo"], channel))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("transprt", "did you mean 'transport'"),
        ("max_mesage_size", "did you mean 'max_message_size'"),
        ("timeout", "connect takes a timeout"),
        ("colour", "there are max_message_size, linger, logger, loop, and for servers"),
    ],
)
def test_an_option_that_does_not_exist(name: str, advice: str) -> None:
    with pytest.raises(TypeError, match=f"no option '{name}'.*{advice}"):
        make_ipc_channel(**{name: 1})  # type: ignore[arg-type]  # is to be refused


@pytest.mark.parametrize("transport", [["tcp"], {}, 5])
def test_a_transport_is_a_name(transport: Any) -> None:
    with pytest.raises(ValueError, match="not 'named_pipe' or 'unix' or 'tcp'"):
        make_ipc_channel(transport=transport)


def test_variables_are_strings() -> None:
    with pytest.raises(TypeError, match="IPC_CHANNEL_IN is a str, not int"):
        from_environment({"IPC_CHANNEL_IN": 1, "IPC_CHANNEL_OUT": 2})  # type: ignore[dict-item]  # is to be refused
