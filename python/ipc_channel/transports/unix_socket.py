"""The transport over Unix sockets (spec/rendezvous.md, "Unix sockets")."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import Unpack

from ipc_channel.options import (
    Options,
    check_mode,
    check_systemd,
    check_users,
    default_logger,
)
from ipc_channel.protocol.rendezvous import check_strings
from ipc_channel.transports import unix_address
from ipc_channel.transports.registry import TransportType
from ipc_channel.transports.socket_channel import SocketClient, SocketServer
from ipc_channel.transports.systemd import HandedPlace
from ipc_channel.transports.unix_connector import UnixConnector
from ipc_channel.transports.unix_listener import UnixListener
from ipc_channel.transports.unix_place import FixedPlace, Place, PrivatePlace
from ipc_channel.transports.unix_stream import UnixStream
from ipc_channel.users import our_user


class UnixSocketChannel(SocketServer):
    """The server of a channel over a Unix socket, listening until ``close``.

    Takes one peer at a time, and only one of our own user or of ``allowed_users``.
    Options are those of :func:`ipc_channel.make_ipc_channel`.
    """

    _listener: UnixListener
    _stream_type = UnixStream

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        allowed_users: Iterable[int | str] = (),
        path: str | os.PathLike[str] | None = None,
        mode: int | None = None,
        systemd: bool | str = False,
        **options: Unpack[Options],
    ) -> None:
        unix_address.check_unix_sockets_exist()
        super().__init__(logger, loop, **options)
        users = check_users(allowed_users)
        place = _place(self.logger, path, mode, systemd, is_open=bool(users - {our_user()}))
        try:
            self._listener = UnixListener(place, users, self.logger)
        except BaseException:
            place.remove()
            raise

    @property
    def in_path(self) -> str:
        return unix_address.PREFIX + self._listener.place.path

    @property
    def out_path(self) -> str:
        return self.in_path

    def _describe(self) -> str:
        return f"path={self._listener.place.path!r}"


def _place(
    logger: logging.Logger,
    path: str | os.PathLike[str] | None,
    mode: int | None,
    systemd: bool | str,
    *,
    is_open: bool,
) -> Place:
    """Return where to listen: at a path, at systemd's socket, or in a fresh directory."""
    if check_systemd(systemd):
        if path is not None or mode is not None:
            raise ValueError("systemd= has path and mode in its unit; leave them out here")
        return HandedPlace(systemd)
    if path is None:
        if mode is not None:
            raise ValueError("mode= is for a socket at a path of your choice: give path=")
        return PrivatePlace(logger, is_open=is_open)
    text = os.path.abspath(os.fsdecode(path))
    unix_address.check_path(text)
    default = 0o666 if is_open else 0o600
    return FixedPlace(text, default if mode is None else check_mode(mode))


class UnixSocketChannelClient(SocketClient):
    """The client of a channel over a Unix socket; both paths are the same string.

    Sends nothing unless the server belongs to our own user, root, or one of
    ``allowed_users``. Options are those of :func:`ipc_channel.make_ipc_channel_client`.
    """

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        allowed_users: Iterable[int | str] = (),
        **options: Unpack[Options],
    ) -> None:
        unix_address.check_unix_sockets_exist()
        super().__init__(logger, loop, **options)
        check_strings(in_path, out_path)
        address = unix_address.parse(in_path, out_path)
        self._connector = UnixConnector(address.path, check_users(allowed_users))

    def _describe(self) -> str:
        return f"path={self._connector.path!r}"

    async def _attempt(self, loop: asyncio.AbstractEventLoop) -> UnixStream | None:
        try:
            sock = self._connector.attempt()
        finally:
            self._last_attempt = self._connector.last_attempt or self._last_attempt
        return None if sock is None else UnixStream(loop, sock)


UNIX = TransportType(
    name="unix",
    form="unix:/PATH",
    recognises=unix_address.recognises,
    parse=unix_address.parse,
    server=UnixSocketChannel,
    client=UnixSocketChannelClient,
    default_on=("darwin",),
    for_helpers_on=("linux", "darwin"),
    single_stream=True,
    can_reset=False,
    drains_before_close=False,
    peer_credentials=True,
    server_options=frozenset({"allowed_users", "path", "mode", "systemd"}),
    client_options=frozenset({"allowed_users"}),
    own_rules=range(60, 80),
)
