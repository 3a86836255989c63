"""A program that uses every part of ``ipc_channel.sync``, for type checkers.

mypy checks it with all other files; nothing runs it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import assert_type

from ipc_channel import ENV_IN, EndReason, IPCChannelError, UnfinishedWriteError
from ipc_channel.sync import (
    Helper,
    HelperProcess,
    IPCChannel,
    IPCChannelClient,
    TCPSocketChannel,
    UnixSocketChannelClient,
    from_environment,
    make_ipc_channel,
    make_ipc_channel_client,
)


def serve() -> None:
    server = make_ipc_channel(logging.getLogger(), transport="unix", linger=2.5, mode=0o600)
    assert_type(server, IPCChannel)
    assert_type(server.in_path, str)
    assert_type(server.connect(timeout=1), bool)
    with server as same:
        assert_type(same, IPCChannel)
        for message in same:
            assert_type(message, bytes)
            same.write(message, timeout=0.5)
    assert_type(server.read(0), bytes | None)
    assert_type(server.end_reason, EndReason | None)
    assert_type(server.last_exception, IPCChannelError | None)
    assert_type(server.connected, bool)
    server.disconnect()
    server.abort()
    server.close(timeout=1)


def write(channel: IPCChannelClient, parts: Iterator[bytearray]) -> bool:
    channel.write_many(parts)
    channel.write_many([b"one", memoryview(b"two")])
    try:
        channel.write(bytearray(b"x"), 1)
    except UnfinishedWriteError as error:
        assert_type(error.code, str)
    except TimeoutError:
        return False
    return True


def help_out() -> None:
    with make_ipc_channel_client(*from_environment()) as client:
        assert_type(client, IPCChannelClient)
    unix = UnixSocketChannelClient("unix:/a", "unix:/a", allowed_users=[0, "root"])
    with unix as same:
        assert_type(same, UnixSocketChannelClient)


def start() -> int:
    helper = Helper(["./helper", ENV_IN], TCPSocketChannel(), env={}, grace=1)
    with helper as channel:
        assert_type(channel, IPCChannel)
    assert_type(helper.process, HelperProcess)
    assert_type(helper.process.returncode, int | None)
    assert_type(helper.stop(), int | None)
    assert_type(helper.start(), IPCChannel)
    return helper.process.wait(timeout=3)


def wrong(channel: IPCChannelClient) -> None:
    """What a type checker has to refuse: mypy complains about an ignore without need."""
    channel.write("text")  # type: ignore[arg-type]
    channel.read("1")  # type: ignore[arg-type]
    make_ipc_channel(lingr=1)  # type: ignore[call-arg]
    make_ipc_channel(transport="pipe")  # type: ignore[arg-type]
    Helper("command", channel)  # type: ignore[arg-type]
    channel.connected = True  # type: ignore[misc]
