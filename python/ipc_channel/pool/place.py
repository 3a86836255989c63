"""One place of a pool: a supervised helper, and the next one when it is lost or recycled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from ipc_channel.aio.request_channel import RequestChannel
from ipc_channel.channel import IPCChannelClient
from ipc_channel.errors import BadMessageError, HelperError, IPCChannelError
from ipc_channel.helper.events import SupervisorEvent
from ipc_channel.helper.helper import Helper
from ipc_channel.helper.restarts import Restarts
from ipc_channel.helper.supervisor import Supervisor
from ipc_channel.log import safely
from ipc_channel.pool.counters import HelperCounters
from ipc_channel.pool.recycling import Recycling

_logger = logging.getLogger("ipc_channel.pool")


class Place:
    """Keeps a helper running, and counts the calls that it has.

    ``on_change`` is called when the place has got room for a call, and when it has none
    any more for good.
    """

    def __init__(
        self,
        make: Callable[[], Helper],
        room: int,
        recycling: Recycling,
        *,
        on_change: Callable[[], None],
        on_event: Callable[[SupervisorEvent], object] | None,
        **options: Any,
    ) -> None:
        self._make = make
        self._room = room
        self._recycling = recycling
        self._on_change = on_change
        self._on_event = on_event
        self._options = options
        names = ("restarts", "period", "backoff")
        self._restarts = Restarts(*(options[name] for name in names))
        self.requests: RequestChannel | None = None
        self.error: HelperError | None = None
        """Why no helper is started here any more."""
        self.in_flight = 0
        self.turn = 0
        """Which call of the pool it was given last."""
        self._helper: Helper | None = None
        self._calls = 0  # that this helper has got
        self._answered = self._lost = self._recycled = 0
        self._leaves = asyncio.Event()  # this helper is to go
        self._idle = asyncio.Event()  # it has no calls
        self._closes = False  # and no other one is to come
        self._supervisor: Supervisor | None = None
        self._misuse: BadMessageError | None = None  # of the channel, by the last helper
        self._task = asyncio.create_task(self._run())

    @property
    def has_room(self) -> bool:
        """Whether a call may be sent to its helper now."""
        return (
            self.requests is not None
            and self.in_flight < self._room
            and not self._leaves.is_set()
        )

    @property
    def load(self) -> int:
        """How many calls its helper has, with cancelled ones that it has not answered."""
        return max(self.in_flight, self.requests.open_requests if self.requests else 0)

    @property
    def is_open(self) -> bool:
        """Whether there is a helper that stays, or will be one."""
        return self.error is None and not self._closes

    @property
    def helper_name(self) -> str:
        """What errors call its helper; "" before the first one is made."""
        return str(self._helper or "")

    @property
    def counters(self) -> HelperCounters:
        """What it has done."""
        process = None
        with contextlib.suppress(HelperError):
            process = self._helper and self._helper.process
        return HelperCounters(
            name=self.helper_name,
            pid=process.pid if process and process.returncode is None else None,
            in_flight=self.in_flight,
            answered=self._answered,
            lost=self._lost,
            recycled=self._recycled,
        )

    def take(self, turn: int) -> RequestChannel:
        """Count a call that is sent to the helper."""
        assert self.requests is not None
        self.turn = turn
        self.in_flight += 1
        self._idle.clear()
        self._calls += 1
        return self.requests

    def give_back(self, requests: RequestChannel, *, answered: bool) -> None:
        """Count a call that is over."""
        self.in_flight -= 1
        self._answered += answered
        if not self.in_flight:
            self._idle.set()
        if requests is not self.requests or self._helper is None or self._leaves.is_set():
            return  # another helper has come, or will
        if self._recycling.is_due(self._calls, self._helper.process.pid):
            self._recycled += 1
            self._leaves.set()

    def forget(self, requests: RequestChannel, error: IPCChannelError) -> None:
        """Send no more calls to a helper that was lost, as a call of it says."""
        if requests is self.requests:
            self.requests = None
            self._misuse = error if isinstance(error, BadMessageError) else None

    @property
    def is_stopped(self) -> bool:
        """Whether no helper runs here, and none will."""
        return self._task.done()

    def retire(self) -> None:
        """End the helper once it has no calls, and start no other one."""
        self._closes = True
        self._leaves.set()

    async def stop(self) -> None:
        """End the helper now; calls that it has fail."""
        self.retire()
        if self._supervisor is not None:
            await self._supervisor.stop()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    async def leave(self) -> None:
        """Retire, and wait until no helper runs here."""
        self.retire()
        if self.requests is None:
            await self.stop()  # it may be about to start again, or never connect
        else:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            while not self._closes:
                self._leaves.clear()
                if (helper := await self._make_helper()) is not None:
                    await self._run_helper(helper)
        except HelperError as error:
            self.error = error if self._misuse is None else _explained(error, self._misuse)
        except Exception as error:  # noqa: BLE001  # of ``make``, for those who wait
            self.error = _cannot_make(error)
        finally:
            if self.error is not None:
                safely(_logger.error, "a place of the pool stays empty: %s", self.error)
            self._closes = True
            self.requests = None
            self._on_change()

    async def _make_helper(self) -> Helper | None:
        """Return a new helper, or None when the place is to be empty.

        If the system has too little for it now, such as descriptors, try again later.
        """
        while not self._closes:
            try:
                return self._make()
            except OSError as error:
                now = asyncio.get_running_loop().time()
                delay = self._restarts.next_delay(now, 0.0)
                if delay is None:
                    raise self._restarts.too_many(str(_cannot_make(error))) from error
                safely(
                    _logger.warning, "%s; next try in %.2f s", _cannot_make(error), delay
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._leaves.wait(), delay)
        return None

    async def _run_helper(self, helper: Helper) -> None:
        """Run a helper, and others after losses, until it is to leave."""
        self._helper = helper
        self._supervisor = Supervisor(
            helper, when="always", on_event=self._note, health=self._check, **self._options
        )
        try:
            async with self._supervisor as supervisor:
                async for channel in supervisor:
                    await self._serve_calls(RequestChannel(channel))
                    if self._leaves.is_set():
                        break
        finally:
            self._supervisor = None

    async def _serve_calls(self, requests: RequestChannel) -> None:
        """Let calls be sent until the session ends or the helper is to leave and has none."""
        if not self.in_flight:  # of the helper before
            self._idle.set()
        self._calls = 0
        self._misuse = None
        self.requests = requests
        ended = asyncio.create_task(requests.wait_ended())
        leaves = asyncio.create_task(self._wait_to_leave())
        self._on_change()
        try:
            await asyncio.wait({ended, leaves}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.requests = None
            ended.cancel()
            leaves.cancel()
            await asyncio.wait({ended, leaves})

    async def _wait_to_leave(self) -> None:
        await self._leaves.wait()
        await self._idle.wait()

    async def _check(self, _channel: IPCChannelClient) -> None:
        """Raise if the helper has left a cancelled request unanswered for too long."""
        if (requests := self.requests) is not None:
            try:
                self._recycling.check_stuck(requests)
            except HelperError:
                self.requests = None  # it takes a while to end
                raise

    def _note(self, event: SupervisorEvent) -> None:
        self._lost += event.kind == "lost"
        if self._on_event is not None:
            self._on_event(event)


def _cannot_make(error: Exception) -> HelperError:
    failure = HelperError(f"a helper of the pool cannot be made: {error}")
    failure.__cause__ = error
    return failure


def _explained(error: HelperError, misuse: BadMessageError) -> HelperError:
    """Return ``error`` with why the session was closed at this end."""
    failure = HelperError(f"{error}; {misuse}")
    failure.__cause__ = misuse
    failure.result = error.result
    return failure
