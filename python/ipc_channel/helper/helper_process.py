"""The process of a helper as a task on an event loop sees it: awaited, and ended.

Nothing here runs between the calls: no task, no thread, and no callback of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import warnings
import weakref
from collections.abc import Coroutine, Iterator
from typing import Any

from ipc_channel.aio.stream import unwatch
from ipc_channel.aio.waiter import wake
from ipc_channel.helper.process import SIGKILL, Child, abandon

_LONGEST_PAUSE = 0.02  # seconds between two looks at what does not tell of its end
_SETTLE = 5.0  # seconds that a process which was killed gets before its end is left alone


class HelperProcess:
    """A process that a :class:`ipc_channel.Helper` started.

    If it is dropped, or the interpreter ends, before the helper was stopped, it is
    killed with its group.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._ending = asyncio.Lock()  # so that SIGTERM comes once
        self._dropped = weakref.finalize(self, _on_dropped, child)

    @property
    def pid(self) -> int:
        """Its number, which may belong to another process once it has ended."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs.

        255 if another part of the service has reaped it (``os.waitpid(-1)``, or SIGCHLD
        ignored): then nothing knows its status.
        """
        return self._child.poll()

    @property
    def ending(self) -> str:
        """How it ended, in words: "was killed by SIGKILL"."""
        status = self.returncode
        if self._child.status_lost:
            return "ended, and another part of this service has taken its status"
        if status is None or status >= 0:
            return f"ended with status {status}"
        return f"was killed by {signal_name(-status)}"

    async def wait(self) -> int:
        """Wait until it has ended, and return its exit status."""
        while (status := self.returncode) is None:
            with self.watched() as ended:
                await ended
        return status

    def send_signal(self, signal: int) -> None:  # as asyncio's
        """Send a signal to the process, and to no other of its group.

        Raises ProcessLookupError once it has ended, WrongProcessError in a forked child.
        """
        self._child.maker.check()
        if self.returncode is not None:
            raise ProcessLookupError(f"process {self.pid} has ended")
        self._child.signal(signal)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(SIGKILL)

    def __repr__(self) -> str:
        state = "runs" if self.returncode is None else self.ending
        return f"<HelperProcess {self.pid} {state}>"

    @contextlib.contextmanager
    def watched(self) -> Iterator[asyncio.Future[None]]:
        """Give a future that is done once the process has ended."""
        self._child.maker.check()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        fd = self._child.duplicate()

        def on_end() -> None:
            unwatch(loop, fd)
            wake(ended)

        try:
            if fd < 0:
                self._look_again(ended)
            else:
                loop.add_reader(fd, on_end)
            yield ended
        finally:
            ended.cancel()
            if fd >= 0:
                if self._child.maker.runs:  # or else the loop is a parent's
                    unwatch(loop, fd)
                os.close(fd)

    def _look_again(self, ended: asyncio.Future[None], pause: float = 0.001) -> None:
        """Look now and then for the end of a process that has no descriptor."""
        if ended.done():
            return
        later = min(2 * pause, _LONGEST_PAUSE)
        again = ended.get_loop().call_later(pause, self._look_again, ended, later)
        if self.returncode is not None:
            again.cancel()
            ended.set_result(None)

    async def wait_for(self, seconds: float) -> bool:
        """Wait until it has ended, and return True; False if it has not in time."""
        with self.watched() as ended:
            await asyncio.wait({ended}, timeout=seconds)
        return self.returncode is not None

    async def end(self, patience: float, grace: float) -> None:
        """Wait for the end, ask for it after ``patience``, enforce it after ``grace``.

        What is left of the group is asked to end as soon as the process has ended.
        If cancelled, kills all at once. Nothing happens in a forked child.
        """
        if not self._child.maker.runs:
            return
        try:
            async with self._ending:
                if not await self.wait_for(patience) or self._child.group_lives():
                    self._child.signal_all(signal.SIGTERM)
                    await self._all_gone_in(grace)
                self._child.signal_all(SIGKILL)
                await self.wait()
                await self._all_gone_in(_SETTLE)
                self._release()
        except BaseException as error:
            await self.kill_all(error)
            raise

    async def kill_all(self, reason: BaseException) -> None:
        """Kill it and its group at once, because of ``reason``, and then wait until it is so."""
        if not self._child.maker.runs:
            return  # a forked child unwinds the frames of its parent
        with contextlib.suppress(PermissionError):
            self._child.signal_all(SIGKILL)
        # A coroutine that is closed, as its loop has gone, cannot wait.
        if not isinstance(reason, GeneratorExit):
            await complete(self._settle())

    async def _settle(self) -> None:
        await self._all_gone_in(_SETTLE)
        self._release()

    def _release(self) -> None:
        self._child.release()
        if self._child.released:
            self._dropped.detach()

    async def _all_gone_in(self, seconds: float) -> bool:
        """Wait until it and its group have ended; return whether they have in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        if not await self.wait_for(seconds):
            return False
        pause = 0.001
        while self._child.group_lives():
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True


async def complete(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` to its end, and raise CancelledError only then, if cancelled meanwhile."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def signal_name(number: int) -> str:
    """Return the name of a signal: "SIGKILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _on_dropped(child: Child) -> None:
    if abandon(child):
        warnings.warn(
            f"helper process {child.pid} was killed, since nothing stopped it before: "
            "await Helper.stop, or use 'async with'",
            ResourceWarning,
            stacklevel=2,
        )
