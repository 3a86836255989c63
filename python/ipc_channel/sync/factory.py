"""The two functions that make a blocking channel without naming a transport."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Unpack

from ipc_channel import factory
from ipc_channel.options import Options, default_logger
from ipc_channel.sync.channel import IPCChannel, IPCChannelClient
from ipc_channel.sync.transports import blocking_client, blocking_server, driver_for
from ipc_channel.transports import Transport


def make_ipc_channel(
    logger: logging.Logger = default_logger,
    *,
    transport: Transport | None = None,
    allowed_users: Iterable[int | str] = (),
    path: str | os.PathLike[str] | None = None,
    mode: int | None = None,
    systemd: bool | str = False,
    **options: Unpack[Options],
) -> IPCChannel:
    """Make the server of a blocking channel, and its rendezvous.

    The arguments and errors are those of :func:`ipc_channel.make_ipc_channel`, without
    ``loop``.
    """
    return blocking_server(
        driver_for(options),
        factory.make_ipc_channel(
            logger,
            transport=transport,
            allowed_users=allowed_users,
            path=path,
            mode=mode,
            systemd=systemd,
            **options,
        ),
    )


def make_ipc_channel_client(
    in_path: str,
    out_path: str,
    logger: logging.Logger = default_logger,
    *,
    allowed_users: Iterable[int | str] = (),
    **options: Unpack[Options],
) -> IPCChannelClient:
    """Make the client of a blocking channel; its transport follows from the two strings.

    The arguments and errors are those of :func:`ipc_channel.make_ipc_channel_client`,
    without ``loop``.
    """
    return blocking_client(
        driver_for(options),
        factory.make_ipc_channel_client(
            in_path, out_path, logger, allowed_users=allowed_users, **options
        ),
    )
