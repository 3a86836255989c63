"""The two functions that make a channel without naming a transport."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import Any, Unpack

from ipc_channel.channel import PIPE_CONN_TIMEOUT, IPCChannel, IPCChannelClient
from ipc_channel.options import Options, check_users, default_logger
from ipc_channel.transports import Transport, registry

__all__ = [
    "PIPE_CONN_TIMEOUT",
    "IPCChannel",
    "IPCChannelClient",
    "make_ipc_channel",
    "make_ipc_channel_client",
]


def make_ipc_channel(
    logger: logging.Logger = default_logger,
    loop: asyncio.AbstractEventLoop | None = None,
    *,
    transport: Transport | None = None,
    allowed_users: Iterable[int | str] = (),
    path: str | os.PathLike[str] | None = None,
    mode: int | None = None,
    systemd: bool | str = False,
    **options: Unpack[Options],
) -> IPCChannel:
    """Make the server of a channel, and its rendezvous.

    Arguments:
        logger: logger for session events; ``ipc_channel`` by default.
        loop: must be the loop in which the channel is used; by default the running one.
        transport: ``"named_pipe"``, ``"unix"`` or ``"tcp"``; by default named pipes
            on Linux, a Unix socket on macOS, and TCP on Windows. Windows has only
            ``"tcp"``: the other two raise BadRendezvousError there.
        allowed_users: ids or names of other users that may connect, over Unix sockets
            and, on Linux and Windows, over TCP. On Windows an id is a SID
            ("S-1-5-21-…"), and the service must be an administrator to ask for other
            users. Named pipes are open to our own user only.
        path: for ``"unix"``: path of the socket, at most 103 bytes; by default in a
            fresh private directory. Choose it for helpers that this process does not
            start. A stale socket at the path is replaced.
        mode: for ``path``: the permissions of the socket, by default 0o600, or 0o666
            with ``allowed_users``. Whatever they are, the server checks the user of
            each peer.
        systemd: for ``"unix"``: True to listen on the socket that systemd passes to
            this process, or the name of one of several (``FileDescriptorName=``).
        max_message_size: largest message in bytes, sent or received, 1 to
            2**32 - 1; by default 64 MiB.
        linger: seconds that ``close`` waits for a peer that does not read; by
            default 1.

    Raises ValueError or TypeError for an option out of range, BadRendezvousError for a
    transport that this system lacks, and BadRendezvousError or OSError if it cannot
    listen at ``path`` (``EADDRINUSE`` if a process already does).
    """
    kind = registry.default() if transport is None else registry.named(transport)
    given: dict[str, Any] = {}
    if users := check_users(allowed_users):
        given["allowed_users"] = users
    if path is not None:
        given["path"] = path
    if mode is not None:
        given["mode"] = mode
    if systemd is not False:
        given["systemd"] = systemd
    for name in given:
        if name not in kind.server_options:
            raise ValueError(_needs_another_transport(name, kind))
    return kind.server(logger, loop, **given, **options)


def _needs_another_transport(name: str, kind: registry.TransportType) -> str:
    able = [repr(one.name) for one in registry.all_types() if name in one.server_options]
    why = ": it is open to our own user only" if name == "allowed_users" else ""
    return f"{name} needs transport={' or '.join(able)}, not {kind.name!r}{why}"


def make_ipc_channel_client(
    in_path: str,
    out_path: str,
    logger: logging.Logger = default_logger,
    loop: asyncio.AbstractEventLoop | None = None,
    *,
    allowed_users: Iterable[int | str] = (),
    **options: Unpack[Options],
) -> IPCChannelClient:
    """Make the client of a channel; its transport follows from the two strings.

    Arguments:
        in_path: rendezvous from which this end reads: the server's ``out_path``.
        out_path: rendezvous to which this end writes: the server's ``in_path``.
        allowed_users: over Unix sockets, ids or names of users other than our own
            and root to which the server may belong. Over named pipes it has to belong
            to our own user, and over TCP a client cannot tell.
        logger, loop, max_message_size, linger: see :func:`make_ipc_channel`.

    Raises BadRendezvousError for strings that are not a rendezvous
    (spec/rendezvous.md), ValueError or TypeError for an option out of range.
    """
    kind, _ = registry.parse(in_path, out_path)
    users = check_users(allowed_users)
    if "allowed_users" in kind.client_options:
        return kind.client(in_path, out_path, logger, loop, allowed_users=users, **options)
    return kind.client(in_path, out_path, logger, loop, **options)
