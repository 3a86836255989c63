"""A pool of helpers that answer requests."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Literal, Self, overload

from ipc_channel import fork
from ipc_channel.codec import Codec, Received, Sent, check_codec, decode_answer, encode
from ipc_channel.helper.events import SupervisorEvent
from ipc_channel.helper.restarts import Restarts
from ipc_channel.log import safely
from ipc_channel.options import check_count, check_seconds
from ipc_channel.pool.calls import Calls
from ipc_channel.pool.counters import PoolCounters
from ipc_channel.pool.makers import Command, Maker, maker_of
from ipc_channel.pool.mapping import map_calls
from ipc_channel.pool.place import Place
from ipc_channel.pool.places import Places
from ipc_channel.pool.recycling import Recycling

_logger = logging.getLogger("ipc_channel.pool")


class HelperPool(Generic[Sent, Received]):
    """Helpers that answer requests, each supervised::

        async with HelperPool(["./helper"], size=4) as pool:
            answer = await pool.call(b"question", timeout=10, idempotent=True)
            async for answer in pool.map(questions, idempotent=True):
                ...

    A call goes to the helper that has the fewest calls. A helper that is lost is started again,
    as :class:`Supervisor` does; calls that it had fail with UnansweredError, or go to
    another helper if they are declared ``idempotent``, which says that doing the same work
    twice does no harm. Entering the block starts the helpers, and does not wait for them.
    A command that cannot be started is tried as often as one that crashes; then calls raise
    HelperError. Leaving the block ends all helpers.

    Arguments:
        helpers: one or several commands, or functions without arguments that return a new
            :class:`Helper`, for one with options. The places of the pool take them in turn.
        size: how many helpers run at once, by default one for each processor or for each of
            ``helpers``, whichever is more. A smaller one leaves out the last of these.
        calls_per_helper: how many calls a helper gets at once, by default 4. Further calls
            wait, in their order: so the pool never has more than ``size`` times as many in
            flight. 2 keep a helper busy that handles one request at a time.
        retries: how often an idempotent call may be sent again, by default 2.
        recycle_calls: how many calls a helper gets before another one takes its place; None,
            the default, for no limit.
        recycle_memory: bytes of memory (its resident set, looked at after calls, ten times
            a second at most) above which another one takes its place. Linux only.
        stuck_after: seconds that a helper gets to answer a request after it was cancelled,
            by default 10; then it is ended, with SIGKILL if it does not end within its
            ``grace``, and counts as lost.
        restarts, period, backoff: as for :class:`Supervisor`, for each place. A place
            that has had too many losses stays empty; once all are, calls raise HelperError.
            With ``restarts=None`` calls wait for as long as no helper starts.
        on_event: called with each :class:`SupervisorEvent` of each helper.
        on_progress: called with :class:`PoolCounters` each time a call is over. An
            exception that this or ``on_event`` raises is logged.
        codec: for objects in place of bytes, as for :class:`RequestChannel`.
    """

    def __init__(
        self,
        *helpers: Command | Maker,
        size: int | None = None,
        calls_per_helper: int = 4,
        retries: int = 2,
        recycle_calls: int | None = None,
        recycle_memory: int | None = None,
        stuck_after: float = 10.0,
        restarts: int | None = 5,
        period: float = 60.0,
        backoff: tuple[float, float] = (0.1, 30.0),
        on_event: Callable[[SupervisorEvent], object] | None = None,
        on_progress: Callable[[PoolCounters], object] | None = None,
        codec: Codec[Sent, Received] | None = None,
    ) -> None:
        if not helpers:
            raise TypeError("HelperPool needs a command, such as ['./helper']")
        makers = [maker_of(one) for one in helpers]
        least = max(os.cpu_count() or 1, len(helpers))
        size = least if size is None else check_count("size", size)
        self._room = check_count("calls_per_helper", calls_per_helper)
        self._retries = check_count("retries", retries, least=0)
        limits = recycle_calls, recycle_memory, stuck_after
        Recycling(*limits).check()
        Restarts(restarts, period, backoff)  # checks them
        for name, function in (("on_event", on_event), ("on_progress", on_progress)):
            if not (function is None or callable(function)):
                raise TypeError(f"{name} is a callable, not {type(function).__name__}")
        check_codec(codec)
        self._on_progress = on_progress
        self._codec = codec

        def place(make: Maker, on_change: Callable[[], None]) -> Place:
            return Place(
                make,
                self._room,
                Recycling(*limits),
                on_change=on_change,
                on_event=on_event,
                restarts=restarts,
                period=period,
                backoff=backoff,
                every=max(stuck_after / 2, 0.01),
            )

        self._places = Places(makers, size, place)
        self._balancer = self._places.balancer
        self._calls = Calls(self._balancer)
        self._owner = fork.this_process()

    @property
    def counters(self) -> PoolCounters:
        """What the pool has done so far."""
        return PoolCounters(
            waiting=self._balancer.waiting,
            in_flight=self._balancer.in_flight,
            answered=self._calls.answered,
            failed=self._calls.failed,
            retried=self._calls.retried,
            helpers=tuple(place.counters for place in self._balancer.places),
        )

    @property
    def size(self) -> int:
        """How many helpers are to run at once."""
        return self._places.size

    @property
    def usual_ahead(self) -> int:
        """How many payloads :meth:`map` takes ahead unless it is told."""
        return 2 * self.size * self._room

    async def call(
        self, payload: Sent, timeout: float | None = None, *, idempotent: bool = False
    ) -> Received:
        """Send a request to a helper, and return the answer.

        Waits while all helpers have as many calls as they may. ``timeout`` is in seconds,
        from the moment at which a helper gets the call. An idempotent call that is not
        answered in time, or whose helper is lost, goes to another helper, ``retries`` times
        at most, with the same timeout each time. Use ``asyncio.timeout`` to limit it all.

        Raises what :meth:`RequestChannel.call` raises, UnansweredError with the name of the
        helper if it was lost, ChannelClosedError if the pool is stopped while a helper has the
        call, HelperError if no helper is left or the pool is stopped while the call waits, and
        WrongLoopError in another event loop than that of the block.
        """
        self._check()
        if timeout is not None:
            check_seconds("timeout", timeout)
        codec, retries = self._codec, self._retries if idempotent else 0
        data: Any = payload if codec is None else encode(codec, payload, "request")
        try:
            answer: Any = await self._calls.call(data, timeout, retries)
        finally:
            if self._on_progress is not None:
                self._tell(self._on_progress)
        result: Received = answer if codec is None else decode_answer(codec, answer)
        return result

    @overload
    def map(
        self,
        payloads: Iterable[Sent] | AsyncIterable[Sent],
        *,
        timeout: float | None = None,
        idempotent: bool = False,
        ordered: bool = True,
        return_exceptions: Literal[False] = False,
        ahead: int | None = None,
    ) -> AsyncGenerator[Received, None]: ...
    @overload
    def map(
        self,
        payloads: Iterable[Sent] | AsyncIterable[Sent],
        *,
        timeout: float | None = None,
        idempotent: bool = False,
        ordered: bool = True,
        return_exceptions: bool,
        ahead: int | None = None,
    ) -> AsyncGenerator[Received | Exception, None]: ...
    def map(
        self,
        payloads: Iterable[Sent] | AsyncIterable[Sent],
        *,
        timeout: float | None = None,
        idempotent: bool = False,
        ordered: bool = True,
        return_exceptions: bool = False,
        ahead: int | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call once for each of the payloads, and yield the answers.

        They come in the order of the payloads or, if not ``ordered``, as they are answered.
        At most ``ahead`` payloads have been taken whose answers were not yielded yet, by
        default twice as many as may be in flight: so the memory is bounded, whatever is
        slower. The first failure ends the iteration, unless ``return_exceptions``. Leaving
        the iteration early cancels the calls that are left, once the generator is closed;
        ``contextlib.aclosing`` does that at once.
        """
        if ahead is not None:
            check_count("ahead", ahead)
        return map_calls(
            lambda payload: self.call(payload, timeout, idempotent=idempotent),
            payloads,
            ahead or self.usual_ahead,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )

    async def drain(self) -> None:
        """Wait until no call waits or is in flight."""
        self._check()
        await self._balancer.drain()

    async def resize(self, size: int) -> None:
        """Have another number of helpers from now on.

        New ones are started without waiting for them. Those that are too many get no more
        calls, and end once theirs are answered, which this waits for.
        """
        self._check()
        check_count("size", size)
        await self._places.resize(size)

    async def stop(self) -> None:
        """End all helpers.

        Calls that they have raise ChannelClosedError, and calls that wait HelperError.
        """
        self._owner.check()
        await self._places.stop()

    async def __aenter__(self) -> Self:
        self._owner.check()
        self._places.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owner.runs:  # a forked child leaves the block as well
            await self.stop()

    def __repr__(self) -> str:
        now = self.counters
        return f"<HelperPool of {self.size}, {now.in_flight} in flight, {now.waiting} wait>"

    def _check(self) -> None:
        """Raise if this is another process or another event loop than that of the block."""
        self._owner.check()
        self._places.check_loop()

    def _tell(self, on_progress: Callable[[PoolCounters], object]) -> None:
        try:
            on_progress(self.counters)
        except Exception:  # noqa: BLE001  # the application's; the pool goes on
            safely(_logger.exception, "on_progress failed")
