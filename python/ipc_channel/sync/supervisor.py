"""Start a helper again when it is lost, in programs without asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from ipc_channel import fork
from ipc_channel.aio.waiter import wake
from ipc_channel.closed import channel_closed
from ipc_channel.helper import events
from ipc_channel.helper import supervisor as aio
from ipc_channel.helper.events import SupervisorEvent
from ipc_channel.helper.health import Health
from ipc_channel.helper.supervisor import When
from ipc_channel.sync.channel import IPCChannel
from ipc_channel.sync.driver import Driver
from ipc_channel.sync.helper import Helper, parts_of_helper

if TYPE_CHECKING:
    from typing_extensions import Buffer

_T = TypeVar("_T")


class Supervisor:
    """Starts a helper, and starts it again whenever it is lost::

        with Supervisor(Helper(["./helper"])) as supervisor:
            for channel in supervisor:  # once for each start
                with contextlib.suppress(PeerError):  # the helper was lost
                    for message in channel:
                        ...

    See :class:`ipc_channel.Supervisor`, whose arguments these are, but that ``helper`` is a
    blocking one, and ``health`` a plain callable that gets the blocking channel. It runs
    in a thread of its own each time, and may write.

    Between calls nothing runs. So the process and its health are watched while a thread
    waits in a method of the channel, in the loop, or in an iterator of :meth:`events`.
    ``on_event`` is called by that thread, inside the channel's loop: it must not use the
    channel, the helper or the supervisor. To do that, iterate over :meth:`events`.
    """

    def __init__(
        self,
        helper: Helper,
        *,
        restarts: int | None = 5,
        period: float = 60.0,
        backoff: tuple[float, float] = (0.1, 30.0),
        when: When = "on-failure",
        health: Callable[[IPCChannel], object] | None = None,
        ping: Buffer | None = None,
        every: float = 10.0,
        health_timeout: float = 10.0,
        on_event: Callable[[SupervisorEvent], object] | None = None,
    ) -> None:
        if not isinstance(helper, Helper):
            kind = type(helper).__name__
            raise TypeError(
                f"helper is a blocking Helper, not {kind};"
                " pass ipc_channel.sync.Helper(command)"
            )
        self._helper = helper
        self._driver, asyncio_helper = parts_of_helper(helper)
        self._supervisor = aio.Supervisor(
            asyncio_helper,
            restarts=restarts,
            period=period,
            backoff=backoff,
            when=when,
            health=_in_thread(health, helper.channel) if callable(health) else health,
            ping=ping,
            every=every,
            health_timeout=health_timeout,
            on_event=on_event,
        )
        self._owner = fork.this_process()

    @property
    def helper(self) -> Helper:
        """The helper that was passed to the constructor."""
        return self._helper

    def events(self) -> EventIterator:
        """Return an iterator over the events, from the start of the present life on.

        Any number of iterators may be used, each in a thread of its own: it blocks until
        the next event, and ends behind the last one.
        """
        return EventIterator(self._supervisor.events(), self._driver)

    def stop(self) -> int | None:
        """Stop the helper for good, and return what :meth:`Helper.stop` returns.

        The channel is closed, a start or a pause in another thread ends, and so does the
        loop. If interrupted, it kills the process and its group at once.
        """
        try:
            with contextlib.suppress(StopAsyncIteration):  # stopped by another thread
                self._run(self._supervisor.stop)
        finally:
            status = self._helper.stop()  # frees the loop, and does the rest if interrupted
        return status

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> IPCChannel:
        try:
            self._run(self._supervisor.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None
        return self._helper.channel

    def __enter__(self) -> Self:
        try:
            self._run(self._supervisor.__aenter__)
        except StopAsyncIteration:
            raise channel_closed() from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owner.runs:  # a forked child leaves the block as well
            self.stop()

    def _run(self, act: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run ``act`` in the loop; raise the end of it if the loop was freed."""
        use = self._driver.acquire()
        try:
            if self._owner.runs and self._driver.loop.is_closed():
                raise self._supervisor.end
            return self._driver.run(act())
        finally:
            self._driver.release(use)

    def __getstate__(self) -> NoReturn:
        self._supervisor.__getstate__()

    def __repr__(self) -> str:
        return repr(self._supervisor)


class EventIterator:
    """Yields the events of a blocking supervisor, and waits for each."""

    def __init__(self, iterator: events.EventIterator, driver: Driver) -> None:
        self._iterator = iterator
        self._driver = driver

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SupervisorEvent:
        use = self._driver.acquire()
        try:
            if not (self._iterator.is_due or self._driver.loop.is_closed()):
                self._driver.wait(lambda: self._iterator.is_due)
        finally:
            self._driver.release(use)
        if (event := self._iterator.take()) is None:
            raise StopIteration
        return event


def _in_thread(health: Callable[[IPCChannel], object], channel: IPCChannel) -> Health:
    """Return a coroutine function that calls ``health`` in a thread, and waits for it.

    A thread that does not return does not keep the interpreter from ending.
    """

    async def ask(_: object) -> object:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        outcome: list[object] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                outcome.append(health(channel))
            except BaseException as error:  # noqa: BLE001  # for the supervisor
                errors.append(error)
            loop.call_soon_threadsafe(wake, answered)

        threading.Thread(target=work, name="ipc-channel health", daemon=True).start()
        await answered
        for error in errors:
            raise error
        return outcome[0]

    return ask
