"""The process of a helper, to be awaited and ended in an event loop.

Between calls only its outputs are read, as far as they are not inherited; there is no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import shlex
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from ipc_channel.aio.waiter import wake
from ipc_channel.helper.child import Child, abandon
from ipc_channel.helper.output import HelperOutput
from ipc_channel.helper.result import HelperResult
from ipc_channel.log import safely

_logger = logging.getLogger("ipc_channel.helper")
_KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows both end it at once
_ENDING = (signal.SIGTERM, signal.SIGINT, _KILL)
"""Signals after which any status counts as wanted; others may mean anything else."""
_LONGEST_PAUSE = 0.02  # seconds between polls of a group
_SETTLE = 5.0  # seconds that we wait for the end of a process after SIGKILL


class HelperProcess:
    """A process that a :class:`ipc_channel.Helper` started.

    If this object is dropped, or the interpreter ends, before the helper is stopped, the
    process and its group are killed.
    """

    def __init__(self, child: Child, command: Sequence[str], output: HelperOutput) -> None:
        self._child = child
        self._command = tuple(command)
        self._output = output
        self._started = time.monotonic()
        self._duration: float | None = None  # until its end was noticed
        self._sent: set[int] = set()  # signals that may end it, or may not
        self._ending = asyncio.Lock()  # so that SIGTERM is sent only once
        self._dropped = weakref.finalize(self, _on_dropped, child, output)

    @property
    def pid(self) -> int:
        """Its number, which may belong to another process once it has ended."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs.

        On Windows it is that of Windows, and never negative.
        255 if another part of the service has reaped it (``os.waitpid(-1)``, or an
        ignored SIGCHLD): then its status is unknown.
        """
        status = self._child.poll()
        if status is not None and self._duration is None:
            self._duration = time.monotonic() - self._started
        return status

    @property
    def result(self) -> HelperResult | None:
        """What came of it; None while it runs, or in a forked child."""
        status = self.returncode
        if status is None:
            return None
        self._output.read_rest()
        return HelperResult(
            command=self._command,
            pid=self.pid,
            status=status,
            duration=self._duration or 0.0,
            ending=self.ending,
            requested=_explain(self._sent, status),
            last_lines=self._output.last_lines,
        )

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines that it has written so far, at most 100, unless inherited."""
        return self._output.last_lines

    @property
    def ending(self) -> str:
        """How it ended, in words: "was killed by SIGKILL"."""
        return self._child.ending

    async def wait(self) -> int:
        """Wait until it has ended, and return its exit status."""
        while (status := self.returncode) is None:
            with self.watched() as ended:
                await ended
        return status

    def send_signal(self, signal: int) -> None:  # named as in asyncio
        """Send a signal to the process only, not to its group.

        On Windows, as in asyncio, SIGTERM ends it at once with status 1, and besides it
        there is only CTRL_BREAK_EVENT, for a helper in a group of its own: CTRL_C_EVENT
        does not reach such a group.

        Raises ProcessLookupError once it has ended, WrongProcessError in a forked child,
        and ValueError for a signal that Windows does not have.
        """
        self._child.maker.check()
        if self.returncode is not None:
            raise ProcessLookupError(f"process {self.pid} has ended")
        with self._noting(signal):
            self._child.signal(signal)

    def terminate(self) -> None:
        """Send it SIGTERM; on Windows, end it at once."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL; on Windows, end it at once."""
        self.send_signal(_KILL)

    def __repr__(self) -> str:
        state = "runs" if self.returncode is None else self.ending
        return f"<HelperProcess {self.pid} {state}>"

    @contextlib.contextmanager
    def watched(self) -> Iterator[asyncio.Future[None]]:
        """Yield a future that is done once the process has ended."""
        self._child.maker.check()
        self._output.go_on()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        watch = self._child.watch(loop, functools.partial(wake, ended))
        try:
            yield ended
        finally:
            ended.cancel()
            watch.close()

    async def wait_for(self, seconds: float) -> bool:
        """Wait until it has ended and return True; return False if it does not in time."""
        with self.watched() as ended:
            await asyncio.wait({ended}, timeout=seconds)
        return self.returncode is not None

    async def end(self, patience: float, grace: float) -> None:
        """Wait ``patience`` seconds, send SIGTERM, wait ``grace`` seconds, send SIGKILL.

        Once the process has ended, the rest of its group gets SIGTERM at once. If
        cancelled, it kills all of them at once. Does nothing in a forked child.
        """
        if not self._child.maker.runs:
            return
        try:
            async with self._ending:
                if not await self.wait_for(patience) or self._child.group_lives():
                    self._log_signal(
                        logging.INFO, patience, "of the end of its channel", "SIGTERM"
                    )
                    with self._noting(signal.SIGTERM):
                        self._child.terminate_all()
                    await self._all_gone_in(grace)
                self._log_signal(logging.WARNING, grace, "of SIGTERM", "SIGKILL")
                self._child.kill_all()
                await self.wait()
                await self._all_gone_in(_SETTLE)
                self._release()
        except BaseException as error:
            await self.kill_all(error)
            raise

    async def kill_all(self, reason: BaseException) -> None:
        """Kill it and its group because of ``reason``, and wait until they have ended."""
        if not self._child.maker.runs:
            return  # a forked child unwinds the parent's frames
        with contextlib.suppress(PermissionError), self._noting(_KILL):
            self._child.kill_all()
        # A coroutine that is closed because its loop has gone cannot wait.
        if not isinstance(reason, GeneratorExit):
            await complete(self._settle())

    @contextlib.contextmanager
    def _noting(self, number: int) -> Iterator[None]:
        """Note the signal that the block sends, unless it has ended or that is refused.

        Noted before, since it may end at once. If a signal handler raises something else,
        the signal may have been sent.
        """
        if number in self._sent or self.returncode is not None:
            yield
            return
        self._sent.add(number)
        try:
            yield
        except (OSError, ValueError):
            self._sent.discard(number)
            raise

    def _log_signal(self, level: int, seconds: float, event: str, name: str) -> None:
        """Log that it still runs, and so gets a signal: what it had in hand may be lost."""
        if self.returncode is None:
            text = "helper %s (pid %d) did not exit within %s s %s: it gets %s"
            words = shlex.join(self._command)
            log = functools.partial(_logger.log, level)
            safely(log, text, words, self.pid, seconds, event, name)

    async def _settle(self) -> None:
        await self._all_gone_in(_SETTLE)
        self._release()

    def _release(self) -> None:
        self._output.close()
        self._child.release()
        if self._child.released:
            self._dropped.detach()

    async def _all_gone_in(self, seconds: float) -> bool:
        """Wait until it and its group have ended; return whether they did in time."""
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
    """Run ``work`` to its end; if cancelled meanwhile, raise CancelledError only then."""
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


def _explain(signals: set[int], status: int) -> bool:
    """Whether a process may have ended with ``status`` because it got these signals."""
    if any(number in _ENDING or sys.platform == "win32" for number in signals):
        return True
    return status in _statuses_after(signals)


def _statuses_after(signals: set[int]) -> set[int]:
    """Return the statuses of programs that these signals end, as such or as of a shell."""
    return {status for number in signals if number for status in (-number, 128 + number)}


def _on_dropped(child: Child, output: HelperOutput) -> None:
    was_needed = abandon(child)
    output.close()
    if was_needed:
        warnings.warn(
            f"helper process {child.pid} was killed because it had not been stopped: "
            "call Helper.stop, or use the helper in a with block",
            ResourceWarning,
            stacklevel=2,
        )
