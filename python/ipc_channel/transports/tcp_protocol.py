"""A session over a pair of connected asyncio streams."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Unpack

from ipc_channel.aio.session import Session
from ipc_channel.aio.usage import check_running, warn_unclosed
from ipc_channel.errors import EndReason, IPCChannelError
from ipc_channel.options import Options, check_logger, check_options, default_logger
from ipc_channel.transports.adopted_stream import adopt

if TYPE_CHECKING:
    from typing_extensions import Buffer


class TCPSocketProtocol:
    """A session over an established asyncio stream pair.

    The session takes over the connection, and the data that ``reader`` has buffered;
    do not read from the pair or write to it any more. Options are those of
    :func:`ipc_channel.make_ipc_channel_client`.

    Raises WrongLoopError for a ``loop`` other than the running one, ValueError for a
    pair over TLS, which the session would bypass, and NotConnectedError for a closed
    pair.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        for name, value, kind in (
            ("reader", reader, asyncio.StreamReader),
            ("writer", writer, asyncio.StreamWriter),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"{name} is a {kind.__name__}, not {type(value).__name__}")
        self.logger = check_logger(logger)
        self._writer = writer
        checked = check_options(options)
        stream = adopt(reader, writer, check_running(loop))
        name = f"{type(self).__name__} {writer.get_extra_info('peername')}"
        self._session = Session(stream, logger=logger, name=name, **checked)

    @property
    def writer(self) -> asyncio.StreamWriter:
        """The writer passed to the constructor; use it only for ``get_extra_info``."""
        return self._writer

    @property
    def end_reason(self) -> EndReason | None:
        """What ended the session; None while it lives."""
        return self._session.end_reason

    @property
    def last_exception(self) -> IPCChannelError | None:
        """The error that ended the session, if one did."""
        return self._session.error

    async def write(self, data: Buffer) -> None:
        """See :meth:`ipc_channel.IPCChannelClient.write`."""
        waiting = self._session.sender.write(data)
        if waiting is not None:
            await waiting

    async def read(self) -> bytes | None:
        """See :meth:`ipc_channel.IPCChannelClient.read`."""
        inbox = self._session.inbox
        return (inbox.messages and inbox.read_nowait()) or await inbox.read()

    async def close(self) -> None:
        """See :meth:`ipc_channel.IPCChannelClient.close`."""
        await self._session.close()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None and not session.closed:
            session.abandon()
            warn_unclosed(self)
