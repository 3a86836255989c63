"""The transport over named pipes (spec/rendezvous.md, "Named pipes")."""

from __future__ import annotations

import asyncio
import logging
from typing import Unpack

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.timing import backoff
from ipc_channel.channel import IPCChannel
from ipc_channel.options import Options, default_logger
from ipc_channel.protocol.rendezvous import check_strings
from ipc_channel.transports import pipe_address
from ipc_channel.transports.pipe_address import check_named_pipes_exist
from ipc_channel.transports.pipe_connector import PipeConnector
from ipc_channel.transports.pipe_stream import PipeStream
from ipc_channel.transports.private_directory import PrivateDirectory
from ipc_channel.transports.registry import TransportType


class PosixNamedPipeProtocol(Endpoint):
    """One end of a pair of named pipes, which need not exist before ``connect``.

    Reads from ``in_path`` and writes to ``out_path``. ``connect`` waits while a
    pipe is missing and refuses anything that is not a named pipe of our own
    user. Options are those of :func:`ipc_channel.make_ipc_channel_client`.
    """

    def __init__(
        self,
        in_path: str,
        out_path: str,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        check_named_pipes_exist()
        check_strings(in_path, out_path)
        address = pipe_address.parse(in_path, out_path)
        super().__init__(logger, loop, **options)
        self._address = address
        self._pipes = PipeConnector(address, is_server=isinstance(self, IPCChannel))

    def _describe(self) -> str:
        return f"in={self._address.in_path!r} out={self._address.out_path!r}"

    async def _open(self, deadline: float) -> PipeStream | None:
        loop = asyncio.get_running_loop()
        try:
            for pause in backoff(loop, deadline):
                stream = self._attempt(loop)
                if stream is not None:
                    return stream
                await asyncio.sleep(pause)
            return self._attempt(loop)
        finally:
            self._last_attempt = self._pipes.last_attempt
            self._leave_pipes()

    def _attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        return self._pipes.attempt(loop)

    def _leave_pipes(self) -> None:
        """Close the pipes when connect ends without a peer."""
        self._pipes.close()

    def _holds_something(self) -> bool:
        return self._pipes.is_open or super()._holds_something()

    def _dispose(self) -> None:
        self._pipes.close()


class PosixNamedPipeChannelClient(PosixNamedPipeProtocol):
    """The client of a channel over named pipes."""


class PosixNamedPipeChannel(PosixNamedPipeProtocol, IPCChannel):
    """The server of a channel over named pipes in a fresh private directory.

    The directory exists from construction to ``close``. Options are those of
    :func:`ipc_channel.make_ipc_channel`.
    """

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._directory = directory = PrivateDirectory()
        try:
            super().__init__(directory.in_path, directory.out_path, logger, loop, **options)
        except BaseException:
            directory.remove()
            raise

    @property
    def in_path(self) -> str:
        return self._address.in_path

    @property
    def out_path(self) -> str:
        return self._address.out_path

    def _attempt(self, loop: asyncio.AbstractEventLoop) -> PipeStream | None:
        self._directory.refresh()  # each time: a cleaner may delete it while connect waits
        stream = super()._attempt(loop)
        if stream is not None:
            self._directory.used = True
            stream.on_end = stream.on_settled = self._directory.try_refresh
            stream.settle_later()
        return stream

    def _leave_pipes(self) -> None:
        # A helper that has opened one pipe takes it for the rendezvous and does not retry.
        self._pipes.close_unless_met()

    def _forget_peer(self) -> None:
        self._pipes.close()
        self._directory.used = True  # the peer may have written to the pipes
        # Now, since the next helper may open the pipes before the next connect.
        self._directory.try_refresh()

    def _holds_something(self) -> bool:
        return True

    def _dispose(self) -> None:
        super()._dispose()
        self._directory.remove()


NAMED_PIPE = TransportType(
    name="named_pipe",
    form="/PATH",
    recognises=pipe_address.recognises,
    parse=pipe_address.parse,
    server=PosixNamedPipeChannel,
    client=PosixNamedPipeChannelClient,
    # macOS does not signal the end of a named pipe, and Windows has no POSIX named pipes.
    default_on=("linux",),
    single_stream=False,
    can_reset=False,
    drains_before_close=False,
    peer_credentials=False,
    own_rules=range(20, 40),
)
