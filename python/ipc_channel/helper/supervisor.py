"""Start a helper again when it is lost, and tell what happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from ipc_channel import fork
from ipc_channel.aio.waiter import wake
from ipc_channel.channel import IPCChannel
from ipc_channel.errors import HelperError
from ipc_channel.helper.events import EventIterator, EventLog, SupervisorEvent
from ipc_channel.helper.health import Checkup, Health
from ipc_channel.helper.helper import Helper
from ipc_channel.helper.helper_process import HelperProcess, complete
from ipc_channel.helper.restarts import Restarts
from ipc_channel.helper.story import Story
from ipc_channel.helper.supervised_life import Life

if TYPE_CHECKING:
    from typing_extensions import Buffer

When = Literal["on-failure", "always"]


class Supervisor:
    """Starts a helper, and starts it again whenever it is lost::

        async with Supervisor(Helper(["./helper"])) as supervisor:
            async for channel in supervisor:  # once for each start
                with contextlib.suppress(PeerError):  # the helper was lost
                    async for message in channel:
                        ...

    Each iteration gets the connected channel, always the same one. When the body has come
    to its end, the helper is ended, if it still runs, and started again after a pause: as
    in ``stop``, first the channel is disconnected, then come SIGTERM and SIGKILL, each
    after ``grace`` seconds. An error of the channel that the body does not catch, such as
    ResetError, leaves the loop, without a restart. The loop ends once the helper has
    finished, which it has if it closed its channel and exited with status 0. After too
    many losses it raises HelperError, with the result of the last process in ``result``.

    ``break`` leaves the loop with the helper running, and leaving the block stops it. So
    does :meth:`stop`, from any task: then reads return None, and the loop ends.

    The body has to come to an end when the channel does. That is why a process that keeps
    the channel of a dead helper open, such as one that the helper has started, is ended
    with the group of the helper; if it has left the group, the session is closed
    ``grace`` seconds later.

    The supervisor never sends a message again. A write that fails raises, as ever, and the
    event of the loss says what was left ``unsent`` and ``unread``.

    Arguments:
        helper: the helper, which was not started yet. The channel that it was given, or has
            made, is kept from start to start.
        restarts: how many restarts there may be within ``period``, or None for no limit;
            the loss after that is the last. By default 5.
        period: seconds, by default 60.
        backoff: the pause before the first restart and the longest pause, in seconds; by
            default ``(0.1, 30.0)``. The pause doubles with each restart, until the helper
            was connected for more than ``period`` seconds. Each is a random part of that,
            so that many services do not start their helpers at the same moments.
        when: ``"on-failure"``, or ``"always"`` to start a helper that has finished again.
        health: an async callable that gets the channel, while it is connected, every
            ``every`` seconds. If it raises, returns False or takes longer than
            ``health_timeout``, the helper is ended (SIGTERM, and after ``grace`` seconds
            SIGKILL). It should not read from the channel: each message goes to one reader.
        ping: a message to send when nothing has arrived for ``every`` seconds. If nothing
            at all arrives in the ``health_timeout`` seconds after it, the helper is ended.
            The body reads the answer as any other message.
        every: seconds between two checks, by default 10.
        health_timeout: seconds, by default 10.
        on_event: called with each :class:`SupervisorEvent`, in the event loop. An exception
            that it raises is logged.

    Each loss is logged as a warning of the logger ``ipc_channel.helper``.
    """

    def __init__(
        self,
        helper: Helper,
        *,
        restarts: int | None = 5,
        period: float = 60.0,
        backoff: tuple[float, float] = (0.1, 30.0),
        when: When = "on-failure",
        health: Health | None = None,
        ping: Buffer | None = None,
        every: float = 10.0,
        health_timeout: float = 10.0,
        on_event: Callable[[SupervisorEvent], object] | None = None,
    ) -> None:
        if not isinstance(helper, Helper):
            kind = type(helper).__name__
            raise TypeError(f"helper is a Helper, not {kind}; pass Helper(command)")
        if helper.attach:
            raise ValueError(f"helper {helper} is started by hand: leave attach out")
        if when not in ("on-failure", "always"):
            raise ValueError(f"when is 'on-failure' or 'always', not {when!r}")
        if not (on_event is None or callable(on_event)):
            kind = type(on_event).__name__
            raise TypeError(f"on_event is a callable that gets an event, not {kind}")
        self._helper = helper
        self._restarts = Restarts(restarts, period, backoff)
        self._when = when
        self._checkup = Checkup(health, ping, every=every, timeout=health_timeout)
        self._log = EventLog(on_event)
        self._story = Story(str(helper), self._log)
        self._owner = fork.this_process()
        self._life: Life | None = None
        self._due: float | None = None  # when the next start is, in terms of the loop
        self._error: HelperError | None = None  # of having given up
        self._stopping: asyncio.Future[None] | None = None  # made by the block
        self._iterates = False

    @property
    def helper(self) -> Helper:
        """The helper that was passed to the constructor."""
        return self._helper

    def events(self) -> EventIterator:
        """Return an async iterator over the events, from the start of the present life on.

        Any number of iterators may be used, at any pace: each yields every event once and
        in order, and ends behind the last one.
        """
        return EventIterator(self._log)

    async def stop(self) -> int | None:
        """Stop the helper for good, and return what :meth:`ipc_channel.Helper.stop` returns.

        The channel is closed, a start or a pause that is under way ends, and so does the
        loop. If cancelled, it kills the process and its group at once.
        """
        self._owner.check()
        life = self._life
        if self._stopping is not None:
            wake(self._stopping)
        if life is not None:
            life.note()
        try:
            status = await self._helper.stop()
            if life is not None:
                await life.end()
        except BaseException as error:
            if life is not None and not isinstance(error, GeneratorExit):
                await complete(life.end())
            raise
        finally:
            self._settle(life)
            self._story.start_ended(self._process)
            self._story.finish()
        return status

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> IPCChannel:
        self._check_turn()
        self._iterates = True
        try:
            return await self._next()
        finally:
            self._iterates = False

    async def __aenter__(self) -> Self:
        self._owner.check()
        if self._stopping is not None or self._process is not None:
            raise HelperError(
                f"helper {self._helper} was started already; make a Helper and a Supervisor"
                " for each block"
            )
        self._stopping = asyncio.get_running_loop().create_future()
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
        return f"<Supervisor of {self._helper!r}>"

    def __getstate__(self) -> NoReturn:
        self._helper.__getstate__()

    def _check_turn(self) -> None:
        self._owner.check()
        if self._stopping is None:
            raise HelperError(
                f"the supervisor of helper {self._helper} was not entered; write 'async with"
                " supervisor:' around the loop, so that the helper is stopped in any case"
            )
        if self._iterates:
            raise HelperError(
                f"another task is in the loop over helper {self._helper}; there can be one"
            )

    async def _next(self) -> IPCChannel:
        if self._life is not None:
            await self._finish(self._life)
        while not (self._story.over or self._is_stopping()):
            await self._pause()
            if not self._is_stopping() and (channel := await self._start()) is not None:
                return channel
        raise self.end

    @property
    def end(self) -> HelperError | StopAsyncIteration:
        """What the loop raises once the last event was told."""
        return StopAsyncIteration() if self._error is None else self._error.copy_to_raise()

    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.done()

    async def _finish(self, life: Life) -> None:
        try:
            await life.end()
        finally:
            self._settle(life)

    async def _pause(self) -> None:
        """Wait for the moment of the next start, or for the stop."""
        assert self._stopping is not None
        loop = asyncio.get_running_loop()
        while not self._is_stopping() and self._due is not None:
            left = self._due - loop.time()
            if left <= 0:
                self._due = None
            else:
                await asyncio.wait({self._stopping}, timeout=left)

    async def _start(self) -> IPCChannel | None:
        """Start the helper; return None if that has failed."""
        before = self._process
        self._story.starting()
        try:
            channel = await self._helper.start()
        except BaseException as error:
            process = None if self._process is before else self._process
            if self._is_stopping() or not isinstance(error, Exception):
                self._story.start_ended(process)
            else:
                self._story.not_connected(error, process)
            if self._is_stopping() and isinstance(error, Exception):
                return None  # which is why it has failed
            if isinstance(error, HelperError):
                self._go_on(0.0, error, process)
                return None
            if isinstance(error, Exception):
                self._story.given_up(error)
            raise
        self._life = Life(self._helper, self._checkup)
        self._story.connected(self._life)
        return channel

    def _settle(self, life: Life | None) -> None:
        """Tell what became of a life, once, and decide what is next."""
        if life is None or life is not self._life:
            return
        self._life = None
        self._story.ended(life, stopping=self._is_stopping())
        if self._is_stopping():
            return
        if life.finished and self._when == "on-failure":
            self._story.close()
        else:
            self._go_on(life.lasted, life.error, life.process)

    def _go_on(
        self, lived: float, cause: Exception | None, process: HelperProcess | None
    ) -> None:
        """Plan the next start, or give up if there were too many."""
        assert self._stopping is not None
        now = self._stopping.get_loop().time()  # also if it has been closed since
        delay = self._restarts.next_delay(now, lived)
        if delay is None:
            self._error = self._restarts.too_many(self._story.last_text)
            self._error.__cause__ = cause
            self._error.result = None if process is None else process.result
            self._story.given_up(self._error)
        else:
            self._due = now + delay
            self._story.restarting(delay)

    @property
    def _process(self) -> HelperProcess | None:
        """The process that was started last."""
        try:
            return self._helper.process
        except HelperError:
            return None
