"""One end of a channel over its life: one session after another, then closed.

A transport derives from :class:`Endpoint`. It implements how a stream is opened
(``_open``) and how resources that outlive a session are freed (``_dispose``).
Everything else, timeouts and cancellation included, is here.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, NoReturn, Unpack

from ipc_channel import fork
from ipc_channel.aio.session import Session
from ipc_channel.aio.status import Status
from ipc_channel.aio.stream import Stream
from ipc_channel.aio.timing import SHORTEST_SLEEP, wait_until
from ipc_channel.aio.usage import check_running, warn_unclosed
from ipc_channel.channel import PIPE_CONN_TIMEOUT, IPCChannelClient
from ipc_channel.closed import channel_closed, no_messages
from ipc_channel.errors import (
    ConnectInProgressError,
    ConnectTimeoutError,
    EndReason,
    IPCChannelError,
)
from ipc_channel.log import safely
from ipc_channel.options import (
    Options,
    check_logger,
    check_loop_argument,
    check_options,
    check_seconds,
    default_logger,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Endpoint(IPCChannelClient):
    """Base class of the channels and clients of all transports."""

    def __init__(
        self,
        logger: logging.Logger = default_logger,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.logger = check_logger(logger)
        self._loop = check_loop_argument(loop)
        self._options = check_options(options)
        self._process = fork.this_process()
        self._status = Status.IDLE
        self.session: Session | None = None  # the last session, which may have ended
        self._connecting: asyncio.Task[None] | None = None
        self._last_attempt = "no peer connected"  # why the last attempt failed
        self._timeout_error: ConnectTimeoutError | None = None  # of the last connect

    @abstractmethod
    async def _open(self, deadline: float) -> Stream | None:
        """Return a stream to the next peer.

        It is cancelled soon after ``deadline``, in terms of ``loop.time()``. It may try
        once more then and return None, but not earlier. It cleans up.
        """

    @abstractmethod
    def _describe(self) -> str:
        """Return what identifies this channel in a log."""

    def _dispose(self) -> None:
        """Free what outlives a session; further calls do nothing."""

    def _holds_something(self) -> bool:
        """Whether the channel holds resources that only :meth:`close` frees."""
        return self.session is not None and not self.session.closed

    def _forget_peer(self) -> None:
        """Close what is open of a peer that has not fully connected."""

    @property
    def connected(self) -> bool:
        if not self._process.runs or self.session is None:
            return False
        return self._status is Status.PENDING or self.session.alive

    @property
    def end_reason(self) -> EndReason | None:
        return None if self.session is None else self.session.end_reason

    @property
    def last_exception(self) -> IPCChannelError | None:
        if self._timeout_error is not None:
            return self._timeout_error
        return None if self.session is None else self.session.error

    async def connect(self, timeout: float = PIPE_CONN_TIMEOUT) -> bool:
        check_seconds("timeout", timeout)
        self._process.check()
        deadline = check_running(self._loop).time() + timeout
        self._check_loop()
        if self.session is not None and self.session.end is None:
            self.session.check_loop()
        if self.is_closed:
            raise channel_closed()
        if self._connecting is not None:
            raise ConnectInProgressError("another connect is waiting: wait for that one")
        while not (self.connected or await self._meet_until(deadline)):
            if deadline > asyncio.get_running_loop().time() and not self.is_closed:
                continue  # a disconnect has dropped the peer that had just connected
            if timeout:
                await asyncio.sleep(SHORTEST_SLEEP)  # uvloop's clock counts milliseconds
            if not self.is_closed:
                self._timeout_error = ConnectTimeoutError(
                    f"{self._name} did not connect in {timeout} s: {self._last_attempt}"
                )
            return False
        self._status = Status.CONNECTED
        self._timeout_error = None
        return True

    async def disconnect(self) -> None:
        self._process.check()
        self._check_loop()
        self._drop_pending()
        if self.session is not None:
            await self.session.close()

    def abort(self) -> None:
        if not self._process.runs:
            return  # a forked child holds nothing
        self._check_loop()
        self._drop_pending()
        if self.session is not None:
            self.session.abort()
        if self._connecting is None:  # or else the peer belongs to a waiting connect
            self._forget_peer()

    async def write(self, data: Buffer) -> None:
        session = self.session
        if session is None or session.has_requests:
            raise self._no_messages()
        waiting = session.sender.write(data)
        if waiting is not None:
            await waiting

    async def read(self) -> bytes | None:
        session = self.session
        if session is None or session.has_requests:
            if self.is_closed:
                return None
            raise self._no_messages()
        inbox = session.inbox
        return (inbox.messages and inbox.read_nowait()) or await inbox.read()

    async def close(self) -> None:
        if not self._process.runs:
            return  # a forked child holds nothing
        self._check_loop()
        if self._status is not Status.CLOSED:
            self._status = Status.CLOSING
        try:
            if self._connecting is not None:
                self._connecting.cancel()
                await asyncio.wait({self._connecting})
            if self.session is not None:
                await self.session.close()
        finally:
            self._free()

    def _free(self) -> None:
        """Free everything, also what an earlier call left because of an exception.

        While another ``close`` is waiting, leave it to that one.
        """
        if (session := self.session) is not None and not session.closing:
            session.abort()  # does something only if this close was cancelled
        if session is None or session.closed:
            self._dispose()
            self._status = Status.CLOSED

    def _drop_pending(self) -> None:
        if self._status is Status.PENDING:
            self._status = Status.IDLE

    @property
    def is_closed(self) -> bool:
        return self._status in (Status.CLOSING, Status.CLOSED)

    def __repr__(self) -> str:
        return f"<{self._name} {self._state}>"

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} can be neither copied nor pickled: make the channel in the process that"
            " uses it; a child process can be given the strings in_path and out_path"
        )

    @property
    def _name(self) -> str:
        return f"{type(self).__name__} {self._describe()}"

    @property
    def _state(self) -> str:
        if not self._process.runs:
            return f"of process {self._process.number}"
        if self.is_closed:
            return "closed"
        if self._connecting is not None:
            return "connecting"
        if self.session is None:
            return "not connected"
        ended = self.session.end
        return "connected" if ended is None else f"ended: {ended}"

    def __del__(self) -> None:
        if getattr(self, "_status", Status.CLOSED) is Status.CLOSED:
            return
        if not (self._holds_something() and self._process.runs):
            return  # a forked child shares the loop's selector and must not change it
        if self.session is not None:
            self.session.abandon()
        self._dispose()
        warn_unclosed(self)  # last: as an error, it would keep the rest from happening

    def _no_messages(self) -> Exception:
        """Return why messages can be neither read nor written."""
        self._process.check()
        check_running(self._loop)
        return channel_closed() if self.is_closed else no_messages(self.session)

    def _check_loop(self) -> None:
        """Raise WrongLoopError if a session or a connect is under way in another loop."""
        if self.session is not None and not self.session.loop_closed:
            self.session.check_loop()
        if (connecting := self._connecting) is None:
            return
        if not connecting.get_loop().is_closed():
            check_running(connecting.get_loop())
            return
        # The task will not run again, so closing it frees its socket, for instance.
        if (work := connecting.get_coro()) is not None:
            work.close()
        self._end_connecting(connecting)

    async def _meet(self, deadline: float) -> None:
        """Free the session that has ended, and begin the next one.

        A peer that connects just as ``connect`` is cancelled or times out is not
        lost, since a helper connects only once: the next ``connect`` returns it.
        """
        if self.session is not None:
            if unread := self.session.queued:
                text = "%s: %d unread messages are dropped"
                safely(self.logger.warning, text, self._name, unread)
            remaining = max(deadline - asyncio.get_running_loop().time(), 0)
            await self.session.close(min(self._options["linger"], remaining))
        stream = await self._open(deadline)
        if stream is not None and self.is_closed:
            stream.close()
        elif stream is not None:
            self.session = self._begin(stream)
            self._status = Status.PENDING
            safely(self.logger.debug, "%s: connected", self._name)

    def _begin(self, stream: Stream) -> Session:
        try:
            return Session(stream, logger=self.logger, name=self._name, **self._options)
        except BaseException:  # from a signal handler, for instance
            stream.close()
            raise

    async def _meet_until(self, deadline: float) -> bool:
        """Begin a session if a peer connects by the deadline; if not, return no earlier."""
        connecting = asyncio.get_running_loop().create_task(self._meet(deadline))
        self._connecting = connecting
        self._status = Status.CONNECTING
        try:
            await wait_until(deadline, connecting)
        finally:
            if not (connecting.done() or connecting.get_loop().is_closed()):
                connecting.cancel()
                connecting.add_done_callback(self._end_connecting)  # if cancelled again
                await asyncio.wait({connecting})
            self._end_connecting(connecting)
        if not connecting.cancelled():
            connecting.result()
        return self._status is Status.PENDING

    def _end_connecting(self, connecting: asyncio.Task[None]) -> None:
        """Forget a task that has ended; until then no other connect may begin."""
        if self._connecting is connecting:
            self._connecting = None
            if self._status is Status.CONNECTING:
                self._status = Status.IDLE
        if connecting.done() and not connecting.cancelled():
            connecting.exception()  # retrieved, or else asyncio logs an error
