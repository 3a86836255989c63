"""One end of a channel over its life: session after session, then closed.

A transport derives from :class:`Endpoint` and says how a stream comes about
(``_open``) and what it holds beyond sessions (``_dispose``). Everything else,
timeouts and cancellation included, is here.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, NoReturn, TypedDict, Unpack

from ipc_channel import fork
from ipc_channel.errors import (
    ChannelClosedError,
    ConnectInProgressError,
    ConnectTimeoutError,
    EndReason,
    IPCChannelError,
    NotConnectedError,
    WrongLoopError,
)
from ipc_channel.framing import DEFAULT_MAX_MESSAGE_SIZE, check_max_message_size
from ipc_channel.interface import PIPE_CONN_TIMEOUT, IPCChannelClient
from ipc_channel.log import safely
from ipc_channel.session import DEFAULT_LINGER, Session
from ipc_channel.stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A moment that every loop can wait, and how many of them a last look has. In each the
# loop looks at its descriptors, however late it was woken.
_TICK = 0.001  # seconds
_LAST_TICKS = 5
_LONGEST = 10**9  # seconds: no wait, but a number that loops and selectors take

CLOSED = (
    "the channel was closed: make a new one"
    " (disconnect ends a session and keeps the channel)"
)

default_logger = logging.getLogger("ipc_channel")


def check_seconds(name: str, value: float) -> float:
    """Return ``value``, or raise ValueError or TypeError if it is no duration."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise TypeError(f"{name} is a number of seconds, an int or a float, not {kind}")
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{name} is {value}, not within 0 and {_LONGEST} seconds")
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
            known = ", ".join(sorted(Options.__annotations__))
            raise TypeError(f"there is no option {name!r}; there are: {known}")
    size = options.get("max_message_size", DEFAULT_MAX_MESSAGE_SIZE)
    linger = options.get("linger", DEFAULT_LINGER)
    return {
        "max_message_size": check_max_message_size(size),
        "linger": check_seconds("linger", linger),
    }


def check_logger(logger: logging.Logger) -> logging.Logger:
    """Return ``logger``, or raise TypeError if it cannot log."""
    if not callable(getattr(logger, "warning", None)):
        kind = type(logger).__name__
        hint = "; use logging.getLogger(name)" if isinstance(logger, str) else ""
        raise TypeError(f"logger is a logging.Logger, not {kind}{hint}")
    return logger


def check_loop_argument(
    loop: asyncio.AbstractEventLoop | None,
) -> asyncio.AbstractEventLoop | None:
    """Return ``loop``, or raise TypeError if it is none."""
    if loop is not None and not isinstance(loop, asyncio.AbstractEventLoop):
        kind = type(loop).__name__
        raise TypeError(
            f"loop is an event loop, not {kind}; leave it out for the running one"
        )
    return loop


def check_running(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """Return the running loop; raise WrongLoopError if ``loop`` names another."""
    running = asyncio.get_running_loop()
    if loop is not None and loop is not running:
        raise WrongLoopError(
            "the loop that was given to the constructor is not the running one;"
            " leave it out, or call from a coroutine that runs in that loop"
        )
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
        self.logger = check_logger(logger)
        self._loop = check_loop_argument(loop)
        self._options = check_options(options)
        self._session: Session | None = None
        self._missed: ConnectTimeoutError | None = None
        self._hindrance = "nobody came"  # what the last try to connect met
        self._fresh = False  # no connect has yet told of the session
        self._opening: asyncio.Task[None] | None = None
        self._process = fork.this_process()
        self._closed = False
        self._disposed = False

    @abstractmethod
    async def _open(self, deadline: float) -> Stream | None:
        """Return a stream to the next peer.

        It is cancelled soon after ``deadline``, in terms of ``loop.time()``,
        and may look once more and return None just then, not before. It cleans up.
        """

    @abstractmethod
    def _describe(self) -> str:
        """Return what tells this channel from others in a log."""

    def _dispose(self) -> None:
        """Free what outlives a session, the second time nothing."""

    def _holds_something(self) -> bool:
        """Whether there is anything that only :meth:`close` frees."""
        return self._session is not None and not self._session.released

    def _forget_peer(self) -> None:
        """Leave nothing open of a peer that was half met."""

    @property
    def connected(self) -> bool:
        if not self._process.runs:
            return False
        return self._fresh or (self._session is not None and self._session.alive)

    @property
    def end_reason(self) -> EndReason | None:
        return None if self._session is None else self._session.end_reason

    @property
    def last_exception(self) -> IPCChannelError | None:
        if self._missed is not None:
            return self._missed
        return None if self._session is None else self._session.error

    async def connect(self, timeout: float = PIPE_CONN_TIMEOUT) -> bool:
        check_seconds("timeout", timeout)
        self._process.check()
        deadline = check_running(self._loop).time() + timeout
        self._check_loop()
        if self._session is not None and self._session.end is None:
            self._session.check_loop()
        if self._closed:
            raise ChannelClosedError(CLOSED)
        if self._opening is not None:
            raise ConnectInProgressError("another connect is waiting")
        while not (self.connected or await self._meet_until(deadline)):
            if deadline > asyncio.get_running_loop().time() and not self._closed:
                continue  # who came was dropped by a disconnect just then
            if timeout:
                await asyncio.sleep(_TICK)  # uvloop's clock counts whole milliseconds
            if not self._closed:
                self._missed = ConnectTimeoutError(
                    f"{self._name} did not connect in {timeout} s: {self._hindrance}"
                )
            return False
        self._fresh = False
        self._missed = None
        return True

    async def disconnect(self) -> None:
        self._process.check()
        self._check_loop()
        self._fresh = False
        if self._session is not None:
            await self._session.close()

    def abort(self) -> None:
        if not self._process.runs:
            return  # a forked child holds nothing
        self._check_loop()
        self._fresh = False
        if self._session is not None:
            self._session.abort()
        if self._opening is None:  # or else it is that of a connect that waits
            self._forget_peer()

    async def write(self, data: Buffer) -> None:
        if self._session is None:
            raise self._not_connected()
        waiting = self._session.sender.write(data)
        if waiting is not None:
            await waiting

    async def read(self) -> bytes | None:
        if self._session is None:
            if self._closed:
                return None
            raise self._not_connected()
        receiver = self._session.receiver
        return receiver.take() or await receiver.read()

    async def close(self) -> None:
        if not self._process.runs:
            return  # a forked child holds nothing
        self._check_loop()
        self._closed = True
        try:
            # That of a loop which was closed will not end any more.
            if self._opening is not None and not self._opening.get_loop().is_closed():
                self._opening.cancel()
                await asyncio.wait({self._opening})
            if self._session is not None:
                await self._session.close()
        finally:
            self._free()

    def _free(self) -> None:
        """Free everything, also what an exception has kept an earlier call from freeing.

        But not under another ``close`` that is still waiting.
        """
        session = self._session
        if session is not None and not session.closing:
            session.abort()  # which matters only if this was cancelled
        if session is None or session.released:
            self._dispose()
            self._disposed = True

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
        if self._closed:
            return "closed"
        if self._opening is not None:
            return "connecting"
        if self._session is None:
            return "not connected"
        ended = self._session.end
        return "connected" if ended is None else f"ended: {ended}"

    def __del__(self) -> None:
        if getattr(self, "_disposed", True) or not self._holds_something():
            return
        if not self._process.runs:
            return  # as in Session.abandon
        if self._session is not None:
            self._session.abandon()
        self._dispose()
        warn_unclosed(self)  # last: as an error, it would keep the rest from happening

    def _not_connected(self) -> IPCChannelError:
        self._process.check()
        check_running(self._loop)
        if self._closed:
            return ChannelClosedError(CLOSED)
        return NotConnectedError("the channel is not connected; call connect first")

    def _check_loop(self) -> None:
        """Raise WrongLoopError if a session or a connect is under way in another loop."""
        if self._session is not None and not self._session.deserted:
            self._session.check_loop()
        if self._opening is not None and not self._opening.get_loop().is_closed():
            check_running(self._opening.get_loop())

    async def _meet(self, deadline: float) -> None:
        """Leave nothing of the session that has ended, and begin the next one.

        A peer that is found just as ``connect`` is cancelled, or gives up, is
        not lost: a helper does not come twice. The next ``connect`` has it.
        """
        if self._session is not None:
            if self._session.queued:
                safely(
                    self.logger.warning,
                    "%s: %d unread messages are dropped",
                    self._name,
                    self._session.queued,
                )
            patience = max(deadline - asyncio.get_running_loop().time(), 0)
            await self._session.close(min(self._options["linger"], patience))
        stream = await self._open(deadline)
        if stream is not None and self._closed:
            stream.close()
        elif stream is not None:
            self._session = self._begin(stream)
            self._fresh = True
            safely(self.logger.debug, "%s: connected", self._name)

    def _begin(self, stream: Stream) -> Session:
        try:
            return Session(stream, logger=self.logger, name=self._name, **self._options)
        except BaseException:  # of a signal handler, for instance
            stream.close()
            raise

    async def _meet_until(self, deadline: float) -> bool:
        """Begin a session if a peer comes until the deadline; return no earlier if not."""
        opening = asyncio.get_running_loop().create_task(self._meet(deadline))
        self._opening = opening
        try:
            opening.add_done_callback(self._opened)
            await _wait_until(deadline, opening)
        finally:
            if not (opening.done() or opening.get_loop().is_closed()):
                opening.cancel()
                await asyncio.wait({opening})
            self._opening = None
        if not opening.cancelled():
            opening.result()
        return self._fresh and not self._closed

    def _opened(self, opening: asyncio.Task[None]) -> None:
        """Forget a task that has ended; it may outlive a connect that is cancelled twice."""
        if self._opening is opening:
            self._opening = None
        if not opening.cancelled():
            opening.exception()  # looked at, or else asyncio complains


async def _wait_until(deadline: float, task: asyncio.Task[None]) -> None:
    """Wait for ``task`` until ``deadline``, and for the look that it takes just then.

    Loops may wake a moment early.
    """
    loop = asyncio.get_running_loop()
    while not task.done() and (remaining := deadline - loop.time()) > 0:
        # Rounded, since the difference of two large numbers is a little more than it is.
        await asyncio.wait({task}, timeout=max(round(remaining, 6), _TICK))
    for _ in range(_LAST_TICKS):
        if not task.done():
            await asyncio.wait({task}, timeout=_TICK)
