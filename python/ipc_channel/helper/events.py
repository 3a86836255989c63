"""What a supervisor tells: each event once and in order, to a callback and to iterators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

from ipc_channel.aio.waiter import wake
from ipc_channel.errors import EndReason
from ipc_channel.helper.result import HelperResult
from ipc_channel.log import safely

EventKind = Literal[
    "starting", "connected", "lost", "finished", "stopped", "restarting", "given_up"
]
LossReason = Literal[
    "not_connected", "ended", "lingering", "held_open", "unhealthy", "replaced"
]

_logger = logging.getLogger("ipc_channel.helper")


@dataclass(frozen=True)
class SupervisorEvent:
    """Something that happened to a supervised helper. ``str()`` says it in words.

    Each start is ``"starting"``, then ``"connected"`` if the helper connects, and then
    exactly one of ``"lost"``, ``"finished"`` and ``"stopped"``. ``"restarting"`` comes
    before another start. The last event of all is ``"finished"``, ``"given_up"`` or
    ``"stopped"``.

    Attributes:
        kind: what happened:

            - ``"starting"``: the process is about to be started;
            - ``"connected"``: it has connected, and the loop gets the channel;
            - ``"lost"``: it has ended, or had to be ended, for ``reason``;
            - ``"finished"``: it closed its channel and exited with status 0;
            - ``"stopped"``: the service has stopped it, or the pause before its next start,
              by ``stop``, by leaving the block, or by cancelling a start;
            - ``"restarting"``: it will be started again in ``delay`` seconds;
            - ``"given_up"``: it was lost too often, and the loop gets ``error``.
        attempt: number of the start, from 1; with ``"restarting"``, that of the next one.
        text: what ``str()`` returns.
        pid: number of the process; None before there is one.
        reason: why it was lost:

            - ``"not_connected"``: it could not be started, or did not connect; see ``error``;
            - ``"ended"``: its process or its session ended; see ``result`` and
              ``end_reason``;
            - ``"lingering"``: its session ended, but its process did not exit within
              ``grace`` seconds, and was ended;
            - ``"held_open"``: its process ended, but for ``grace`` seconds another process
              that it had started kept its session open;
            - ``"unhealthy"``: a health check failed, and the process was ended; see
              ``error``;
            - ``"replaced"``: the loop went on to the next iteration while it was well.
        end_reason: how its session ended; None if it never began, or if this end was not
            reached.
        error: what went wrong: the error of the start, of the session, or of the health
            check.
        result: what came of its process; None if there was none.
        delay: seconds until the next start, with ``"restarting"``.
        unread: messages of the helper that had arrived whole and were not read; None if
            unknown.
        unsent: bytes that were written and that the kernel had not taken; None if unknown.
            Those of a write that raised count as well, with 4 bytes for each message. What
            the kernel had taken may be lost as well: only an answer shows what a helper has
            dealt with. The supervisor never sends a message again.
    """

    kind: EventKind
    attempt: int
    text: str = field(repr=False)
    pid: int | None = None
    reason: LossReason | None = None
    end_reason: EndReason | None = None
    error: Exception | None = None
    result: HelperResult | None = None
    delay: float | None = None
    unread: int | None = None
    unsent: int | None = None

    def __str__(self) -> str:
        return self.text


class _Link:
    """An event and what follows it; without a follower, the place of the next event."""

    __slots__ = ("event", "next")

    def __init__(self) -> None:
        self.event: SupervisorEvent | None = None
        self.next: _Link | None = None


class EventLog:
    """The events since the last start, for iterators, and all of them for a callback.

    It is a linked list, in which each iterator holds its place: so an iterator that is slow
    misses nothing, and one that is dropped costs nothing.
    """

    def __init__(self, on_event: Callable[[SupervisorEvent], object] | None) -> None:
        self._on_event = on_event
        self._end = _Link()
        self.last_start = self._end
        self.closed = False
        """Whether the last event was told."""
        self._waiters: set[asyncio.Future[None]] = set()

    def tell(self, event: SupervisorEvent) -> None:
        """Add an event, log it, and call the callback."""
        link, self._end = self._end, _Link()
        if event.kind == "starting":
            self.last_start = link
        link.event = event
        link.next = self._end
        self._wake()
        safely(_logger.warning if event.kind == "lost" else _logger.debug, "%s", event.text)
        if self._on_event is not None:
            self._call(self._on_event, event)

    def close(self) -> None:
        """End the iterators behind the last event."""
        self.closed = True
        self._wake()

    async def wait(self) -> None:
        """Wait for the next event, or for the end."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in tuple(self._waiters):
            wake(waiter)

    @staticmethod
    def _call(
        on_event: Callable[[SupervisorEvent], object], event: SupervisorEvent
    ) -> None:
        try:
            on_event(event)
        except Exception:  # noqa: BLE001  # the application's; supervision goes on
            safely(_logger.exception, "on_event failed for: %s", event.text)


class EventIterator:
    """Yields the events of a supervisor, from its last start on."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._link = log.last_start

    def take(self) -> SupervisorEvent | None:
        """Return the next event, or None if it is yet to come."""
        link = self._link
        if link.next is None:
            return None
        self._link = link.next
        return link.event

    @property
    def is_due(self) -> bool:
        """Whether the next event, or the end, has come."""
        return self._link.next is not None or self._log.closed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SupervisorEvent:
        while not self.is_due:
            await self._log.wait()
        if (event := self.take()) is None:
            raise StopAsyncIteration
        return event
