"""One life of a supervised helper: from its connection until nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.waiter import wake
from ipc_channel.errors import EndReason, HelperError
from ipc_channel.helper.events import LossReason
from ipc_channel.helper.health import Checkup
from ipc_channel.helper.helper import Helper
from ipc_channel.helper.helper_process import complete
from ipc_channel.helper.result import HelperResult

_LAST_LOOK = 0.05  # seconds: the end of a dead process's session is in the kernel already


class Life:
    """A helper that has connected.

    A task watches the process, and its health, until :meth:`end`. When the process has
    ended, the task ends what is left of its group, and then the session, if another process
    keeps it open: so whoever reads from the channel comes to an end.
    """

    def __init__(self, helper: Helper, checkup: Checkup) -> None:
        self.name = str(helper)
        self.grace = helper.grace
        self.process = helper.process
        self.error: Exception | None = None
        self.end_reason: EndReason | None = None
        self.unread: int | None = None
        self._channel = helper.channel
        self._session = (
            self._channel.session if isinstance(self._channel, Endpoint) else None
        )
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time()
        self._lasted: float | None = None
        self._was_well: bool | None = None  # once that was noted
        self._lingered = False
        self._reason: LossReason | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._watching = self._loop.create_task(self._watch(checkup))

    @property
    def lasted(self) -> float:
        """Seconds from the connection until the process ended or the session was left."""
        return self._loop.time() - self._begin if self._lasted is None else self._lasted

    @property
    def result(self) -> HelperResult | None:
        return self.process.result

    @property
    def unsent(self) -> int | None:
        """Bytes that were accepted and not sent; final once the session is closed."""
        return None if self._session is None else self._session.sender.dropped

    @property
    def finished(self) -> bool:
        """Whether it did its work to the end, as far as anything shows that."""
        ended_well = self.end_reason is EndReason.CLEAN and self.process.returncode == 0
        return ended_well and self._reason is None and self._was_well is False

    @property
    def was_well(self) -> bool:
        """Whether it was well when it was to end, and then did not crash either."""
        result = self.result
        crashed = result is not None and result.crashed
        return bool(self._was_well) and self._reason is None and not crashed

    @property
    def loss(self) -> LossReason:
        """Why it was lost, if it was, and if this service did not stop it."""
        if self._reason is not None:
            return self._reason
        if self.was_well:
            return "replaced"
        return "lingering" if self._lingered and not self._was_well else "ended"

    def note(self) -> None:
        """Note what there is to say of the session, which is about to be left."""
        if self._was_well is not None:
            return
        runs = self.process.returncode is None
        self._was_well = runs and self._channel.connected
        self._lasted = self.lasted
        session = self._session
        if session is None:
            self.end_reason = self._channel.end_reason
            self.error = self.error or self._channel.last_exception
        else:
            self.end_reason, self.unread = session.end, session.queued
            self.error = self.error or session.error

    async def end(self) -> None:
        """End what is left of it, in the order of ``stop``, but for the channel.

        If cancelled, it kills the process and its group at once. Raises HelperError if the
        process may not be signalled.
        """
        try:
            wake(self._over)
            await asyncio.wait({self._watching})
            if not self._watching.cancelled():
                self._watching.result()
            await self._last_look()
            self.note()
            await self._channel.disconnect()
            self._lingered = not await self.process.wait_for(self.grace)
            await self._end_process()
        except BaseException as error:
            self._watching.cancel()
            self.note()
            await self.process.kill_all(error)
            if not isinstance(error, GeneratorExit):  # the loop has gone
                await complete(self._end_watch())
            raise

    async def _end_watch(self) -> None:
        await asyncio.wait({self._watching})

    async def _last_look(self) -> None:
        """Let the loop find the end of a session that has ended, or is about to."""
        session = self._session
        if session is None or session.end is not None:
            return
        if self.process.returncode is not None or not self._channel.connected:
            await asyncio.wait({session.ended}, timeout=_LAST_LOOK)

    async def _end_process(self) -> None:
        """End the process, and what is left of its group."""
        try:
            await self.process.end(0, self.grace)
        except PermissionError as error:
            raise HelperError(
                f"helper {self.name} (pid {self.process.pid}) is still running: it has"
                " changed its user, so this process may not signal it; end it as that user,"
                " or as root"
            ) from error

    async def _watch(self, checkup: Checkup) -> None:
        problem = await self._trouble(checkup)
        if self._over.done():
            return
        if problem is not None and self.process.returncode is None:
            self._reason, self.error = "unhealthy", problem
        self._lasted = self.lasted
        with contextlib.suppress(HelperError):  # the end comes to it as well
            await self._end_process()
        if self._session is not None:
            await self._free_readers()

    async def _trouble(self, checkup: Checkup) -> Exception | None:
        """Wait for the end of the process, for a failed check, or for :meth:`end`."""
        checks = checkup.begin(self._channel)
        try:
            with self.process.watched() as ended:
                waited: set[asyncio.Future[Any]] = {ended, self._over, *checks}
                while not (ended.done() or self._over.done()):
                    done, _ = await asyncio.wait(
                        waited, return_when=asyncio.FIRST_COMPLETED
                    )
                    for check in done & checks:
                        waited.discard(check)
                        if (problem := _problem_of(check)) is not None:
                            return problem
        finally:
            for check in checks:
                check.cancel()
        return None

    async def _free_readers(self) -> None:
        """End a session that another process keeps open, once all of it was read.

        Only then: the application may need longer for what has arrived.
        """
        session, pause = self._session, max(self.grace, _LAST_LOOK)
        assert session is not None
        while self._channel.connected and not self._over.done():
            either: set[asyncio.Future[None]] = {session.ended, self._over}
            await asyncio.wait(either, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            is_blocked = bool(session.sender.size)
            if self._over.done() or (session.queued and not is_blocked):
                continue
            if self._channel.connected:
                self._reason = self._reason or "held_open"
                self.note()
                await self._channel.disconnect()


def _problem_of(check: asyncio.Future[Exception | None]) -> Exception | None:
    """Return what a check has found; an error of its own is one as well."""
    if check.cancelled():
        return None
    error = check.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error or check.result()
