"""The two functions that make a channel without naming a transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Unpack

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
    allowed_users: Iterable[int] = (),
    **options: Unpack[Options],
) -> IPCChannel:
    """Make the server of a channel, and its rendezvous.

    Arguments:
        logger: gets what a session has to say; ``ipc_channel`` by default.
        loop: only the running loop is accepted, once the channel is used.
        transport: ``"named_pipe"`` or ``"tcp"``; by default named pipes on
            Linux and TCP elsewhere.
        allowed_users: ids of other users whose processes may connect over TCP
            (Linux). Named pipes are open to our own user only.
        max_message_size: largest message in bytes, sent or received, 1 to
            2**32 - 1; by default 64 MiB.
        linger: seconds that ``close`` waits for a peer that does not read; by
            default 1.

    Raises ValueError or TypeError for an option out of range.
    """
    users = check_users(allowed_users)
    kind = registry.default() if transport is None else registry.named(transport)
    if kind.peer_credentials:
        return kind.server(logger, loop, allowed_users=users, **options)
    if users:
        able = [repr(one.name) for one in registry.all_types() if one.peer_credentials]
        raise ValueError(
            f"allowed_users needs transport={' or '.join(able)}:"
            f" {kind.name} is open to our own user only"
        )
    return kind.server(logger, loop, **options)


def make_ipc_channel_client(
    in_path: str,
    out_path: str,
    logger: logging.Logger = default_logger,
    loop: asyncio.AbstractEventLoop | None = None,
    **options: Unpack[Options],
) -> IPCChannelClient:
    """Make the client of a channel; the strings tell the transport.

    Arguments:
        in_path: where this end reads: the server's ``out_path``.
        out_path: where this end writes: the server's ``in_path``.
        logger, loop, max_message_size, linger: see :func:`make_ipc_channel`.

    Raises BadRendezvousError for strings that are no rendezvous
    (spec/rendezvous.md), ValueError or TypeError for an option out of range.
    """
    kind, _ = registry.parse(in_path, out_path)
    return kind.client(in_path, out_path, logger, loop, **options)
