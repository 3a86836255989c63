"""Finds out that a helper hangs: by asking a callable, or with a ping."""

from __future__ import annotations

import asyncio
import inspect
import select
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.session import Session
from ipc_channel.channel import IPCChannel
from ipc_channel.errors import HelperError
from ipc_channel.options import check_seconds
from ipc_channel.protocol.framing import MAX_LENGTH, message_bytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

Health = Callable[[IPCChannel], Awaitable[object] | bool | None]


class Checkup:
    """What is checked of every life of a helper; see :class:`ipc_channel.Supervisor`."""

    def __init__(
        self,
        health: Health | None,
        ping: Buffer | None,
        *,
        every: float,
        timeout: float,
    ) -> None:
        if not (health is None or callable(health)):
            kind = type(health).__name__
            raise TypeError(f"health is a callable that gets the channel, not {kind}")
        self._health: Health | None = health
        self._ping = None if ping is None else message_bytes(ping, MAX_LENGTH)
        self._every = check_seconds("every", every)
        if not every:
            raise ValueError("every is 0; it is the seconds between two checks")
        self._timeout = check_seconds("health_timeout", timeout)

    def begin(self, channel: IPCChannel) -> set[asyncio.Task[Exception | None]]:
        """Begin the checks of one session; each ends with what is wrong, once it is.

        It ends with None if the session ends.
        """
        checks = set()
        if self._health is not None:
            checks.add(_begun(self._ask(self._health, channel)))
        if self._ping is not None and isinstance(channel, Endpoint) and channel.session:
            checks.add(_begun(self._listen(self._ping, channel, channel.session)))
        return checks

    async def _ask(self, health: Health, channel: IPCChannel) -> Exception | None:
        async def ask() -> object:
            answer = health(channel)
            return await answer if inspect.isawaitable(answer) else answer

        while True:
            await asyncio.sleep(self._every)
            if not channel.connected:
                return None
            asking = _begun(ask())
            try:
                await asyncio.wait({asking}, timeout=self._timeout)
            finally:
                asking.cancel()
            problem = self._problem(asking)
            # The check of a helper that has just died fails as well.
            if problem is not None and channel.connected:
                return problem

    def _problem(self, asking: asyncio.Task[object]) -> Exception | None:
        if not asking.done():
            return HelperError(f"its health check took more than {self._timeout} s")
        if asking.cancelled():
            return HelperError("its health check was cancelled")
        error = asking.exception()
        if error is not None:
            return error if isinstance(error, Exception) else HelperError(repr(error))
        if asking.result() is False:
            return HelperError("its health check returned False")
        return None

    async def _listen(
        self, ping: bytes, channel: Endpoint, session: Session
    ) -> Exception | None:
        receiver = session.receiver
        while True:
            heard = receiver.received
            await asyncio.sleep(self._every)
            if not channel.connected:
                return None
            if receiver.received != heard or has_input(session):
                continue
            receiver.arrival = asyncio.get_running_loop().create_future()
            writing = _begun(channel.write(ping))
            try:
                await asyncio.wait({receiver.arrival}, timeout=self._timeout)
            finally:
                receiver.arrival = None
                writing.cancel()
            if not channel.connected:
                return None
            if receiver.received == heard and not has_input(session):
                return HelperError(
                    f"nothing came from it within {self._timeout} s of a ping"
                )


def has_input(session: Session) -> bool:
    """Whether the peer has sent something that we have not received yet.

    So it is if the messages before it are not read. A loop that was kept from running may
    also call a timer before it receives what came in time.
    """
    descriptor = session.stream.in_fd()
    if not session.receiver.reading:
        return True
    if descriptor < 0:  # the transport of an asyncio stream, which has no timers of ours
        return False
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def _begun(work: Any) -> asyncio.Task[Any]:
    """Run ``work`` in a task; asyncio is not to complain if nothing asks for its error."""
    task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_retrieve)
    return task


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
