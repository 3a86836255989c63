"""The blocking channels of each transport."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Unpack

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.channel import IPCChannel as AsyncServer
from ipc_channel.channel import IPCChannelClient as AsyncClient
from ipc_channel.options import Options, default_logger
from ipc_channel.sync.channel import IPCChannel, IPCChannelClient
from ipc_channel.sync.driver import Driver
from ipc_channel.transports import named_pipe, tcp_socket, unix_socket


def driver_for(options: Options) -> Driver:
    """Return a driver for a channel with these options: the first step of making one.

    It may lack a descriptor. Raises TypeError for the option ``loop`` of asyncio channels.
    """
    if "loop" in options:
        raise TypeError(
            "a blocking channel runs in the threads that use it: leave out loop"
        )
    return Driver()


class PosixNamedPipeChannel(IPCChannel):
    """The server of a channel over named pipes in a fresh private directory.

    The directory exists from construction to ``close``. Options are those of
    :func:`ipc_channel.sync.make_ipc_channel`.
    """

    def __init__(
        self, logger: logging.Logger = default_logger, **options: Unpack[Options]
    ) -> None:
        driver = driver_for(options)
        super().__init__(driver, named_pipe.PosixNamedPipeChannel(logger, **options))


class PosixNamedPipeChannelClient(IPCChannelClient):
    """The client of a channel over named pipes, which need not exist before ``connect``."""

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        **options: Unpack[Options],
    ) -> None:
        driver = driver_for(options)
        end = named_pipe.PosixNamedPipeChannelClient(in_path, out_path, logger, **options)
        super().__init__(driver, end)


class TCPSocketChannel(IPCChannel):
    """The server of a channel over TCP, listening on 127.0.0.1 until ``close``.

    Options are those of :func:`ipc_channel.sync.make_ipc_channel`.
    """

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        *,
        allowed_users: Iterable[int | str] = (),
        **options: Unpack[Options],
    ) -> None:
        driver = driver_for(options)
        end = tcp_socket.TCPSocketChannel(logger, allowed_users=allowed_users, **options)
        super().__init__(driver, end)


class TCPSocketChannelClient(IPCChannelClient):
    """The client of a channel over TCP; both paths are the same string."""

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        **options: Unpack[Options],
    ) -> None:
        driver = driver_for(options)
        end = tcp_socket.TCPSocketChannelClient(in_path, out_path, logger, **options)
        super().__init__(driver, end)


class UnixSocketChannel(IPCChannel):
    """The server of a channel over a Unix socket, listening until ``close``.

    Options are those of :func:`ipc_channel.sync.make_ipc_channel`.
    """

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        *,
        allowed_users: Iterable[int | str] = (),
        path: str | os.PathLike[str] | None = None,
        mode: int | None = None,
        systemd: bool | str = False,
        **options: Unpack[Options],
    ) -> None:
        driver = driver_for(options)
        end = unix_socket.UnixSocketChannel(
            logger,
            allowed_users=allowed_users,
            path=path,
            mode=mode,
            systemd=systemd,
            **options,
        )
        super().__init__(driver, end)


class UnixSocketChannelClient(IPCChannelClient):
    """The client of a channel over a Unix socket; both paths are the same string.

    Options are those of :func:`ipc_channel.sync.make_ipc_channel_client`.
    """

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        *,
        allowed_users: Iterable[int | str] = (),
        **options: Unpack[Options],
    ) -> None:
        driver = driver_for(options)
        end = unix_socket.UnixSocketChannelClient(
            in_path, out_path, logger, allowed_users=allowed_users, **options
        )
        super().__init__(driver, end)


_TYPES: dict[type[Endpoint], type[IPCChannelClient]] = {
    named_pipe.PosixNamedPipeChannel: PosixNamedPipeChannel,
    named_pipe.PosixNamedPipeChannelClient: PosixNamedPipeChannelClient,
    tcp_socket.TCPSocketChannel: TCPSocketChannel,
    tcp_socket.TCPSocketChannelClient: TCPSocketChannelClient,
    unix_socket.UnixSocketChannel: UnixSocketChannel,
    unix_socket.UnixSocketChannelClient: UnixSocketChannelClient,
}


def blocking_server(driver: Driver, end: AsyncServer) -> IPCChannel:
    """Return the blocking form of a server that no event loop uses yet."""
    channel = _blocking(driver, end, IPCChannel)
    assert isinstance(channel, IPCChannel)
    return channel


def blocking_client(driver: Driver, end: AsyncClient) -> IPCChannelClient:
    """Return the blocking form of a client that no event loop uses yet."""
    return _blocking(driver, end, IPCChannelClient)


def _blocking(
    driver: Driver, end: AsyncClient, default: type[IPCChannelClient]
) -> IPCChannelClient:
    assert isinstance(end, Endpoint)
    kind = _TYPES.get(type(end), default)  # another module may have added a transport
    channel = kind.__new__(kind)
    IPCChannelClient.__init__(channel, driver, end)
    return channel
