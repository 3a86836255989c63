"""One end of a channel over its life: session after session, then closed.

A transport derives from :class:`Endpoint` and says how a stream comes about
(``_open``) and what it holds beyond sessions (``_dispose``). Everything else,
timeouts and cancellation included, is here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, TypedDict, Unpack

from ipc_channel.errors import (
    ChannelClosedError,
    ConnectInProgressError,
    EndReason,
    IPCChannelError,
    NotConnectedError,
    WrongLoopError,
)
from ipc_channel.framing import DEFAULT_MAX_MESSAGE_SIZE, check_max_message_size
from ipc_channel.interface import PIPE_CONN_TIMEOUT, IPCChannelClient
from ipc_channel.session import DEFAULT_LINGER, Session
from ipc_channel.stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Buffer

default_logger = logging.getLogger("ipc_channel")


def check_seconds(name: str, value: float) -> float:
    """Return ``value``, or raise ValueError or TypeError if it is no duration."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}, not a number of seconds from 0 on")
    return value


class Options(TypedDict, total=False):
    """Keyword options of every channel and client."""

    max_message_size: int
    """Largest message in bytes, in both directions; 64 MiB unless given."""
    linger: float
    """Seconds that ``close`` waits for a peer that does not read; 1 unless given."""


def check_options(options: Options) -> Options:
    """Return all options, with defaults; raise ValueError or TypeError if one is wrong."""
    for name in options:
        if name not in Options.__annotations__:
            raise TypeError(f"there is no option {name!r}")
    size = options.get("max_message_size", DEFAULT_MAX_MESSAGE_SIZE)
    linger = options.get("linger", DEFAULT_LINGER)
    return {
        "max_message_size": check_max_message_size(size),
        "linger": check_seconds("linger", linger),
    }


def check_running(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """Return the running loop; raise WrongLoopError if ``loop`` names another."""
    running = asyncio.get_running_loop()
    if loop is not None and loop is not running:
        raise WrongLoopError("the loop that was given is not the running one")
    return running


def warn_unclosed(channel: object) -> None:
    """Warn that ``channel`` is collected without having been closed."""
    warnings.warn(f"unclosed {channel!r}", ResourceWarning, source=channel, stacklevel=3)


class Endpoint(IPCChannelClient):
    """What the channels and clients of all transports have in common."""

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.logger = logger
        self._loop = loop
        self._options = check_options(options)
        self._session: Session | None = None
        self._opening: asyncio.Task[Stream] | None = None
        self._closed = False

    @abstractmethod
    async def _open(self) -> Stream:
        """Return a stream to the next peer, however long it takes; clean up if cancelled."""

    def _dispose(self) -> None:
        """Free what outlives a session. Called once."""

    def _holds_something(self) -> bool:
        """Whether there is anything that only :meth:`close` frees."""
        return self._session is not None and not self._session.released

    @property
    def end_reason(self) -> EndReason | None:
        return None if self._session is None else self._session.end_reason

    @property
    def last_exception(self) -> IPCChannelError | None:
        return None if self._session is None else self._session.error

    async def connect(self, timeout: float = PIPE_CONN_TIMEOUT) -> bool:
        deadline = time.monotonic() + check_seconds("timeout", timeout)
        check_running(self._loop)
        if self._closed:
            raise ChannelClosedError("the channel was closed")
        if self._opening is not None:
            raise ConnectInProgressError("another connect is waiting")
        if self._session is not None:
            if self._session.alive:
                return True
            await self._end_session(min(self._options["linger"], timeout))
        stream = await self._open_until(deadline)
        if stream is None:
            return False
        self._session = Session(
            stream,
            logger=self.logger,
            **self._options,
        )
        self.logger.debug("connected")
        return True

    async def write(self, data: Buffer) -> None:
        await self._connected().write(data)

    async def read(self) -> bytes | None:
        if self._session is None and self._closed:
            return None
        return await self._connected().read()

    async def close(self) -> None:
        first, self._closed = not self._closed, True
        try:
            if self._opening is not None:
                await _give_up(self._opening)
            if self._session is not None:
                await self._session.close()
        finally:
            if first:
                self._dispose()

    def __del__(self) -> None:
        if getattr(self, "_closed", True) or not self._holds_something():
            return
        warn_unclosed(self)
        if self._session is not None:
            self._session.abandon()
        self._dispose()

    def _connected(self) -> Session:
        check_running(self._loop)
        if self._session is not None:
            return self._session
        if self._closed:
            raise ChannelClosedError("the channel was closed")
        raise NotConnectedError("the channel is not connected; call connect first")

    async def _end_session(self, linger: float) -> None:
        """Leave nothing of the session that has ended."""
        session = self._session
        assert session is not None
        if session.queued:
            self.logger.warning("%d unread messages are dropped", session.queued)
        await session.close(linger)

    async def _open_until(self, deadline: float) -> Stream | None:
        """Return a stream; None at the deadline, never before, or if closed meanwhile."""
        opening = asyncio.get_running_loop().create_task(self._open())
        self._opening = opening
        try:
            while True:
                remaining = deadline - time.monotonic()
                await asyncio.wait({opening}, timeout=max(remaining, 0))
                if opening.done() or deadline <= time.monotonic():
                    break
        except asyncio.CancelledError:
            await _give_up(opening)
            raise
        finally:
            self._opening = None
        if not opening.done():
            await _give_up(opening)
        if opening.cancelled() or self._closed:
            await _give_up(opening)
            return None
        return opening.result()


async def _give_up(opening: asyncio.Task[Stream]) -> None:
    """Cancel ``opening``; close the stream if it had just been found."""
    opening.cancel()
    opening.add_done_callback(_close_result)
    await asyncio.wait({opening})


def _close_result(opening: asyncio.Task[Stream]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
