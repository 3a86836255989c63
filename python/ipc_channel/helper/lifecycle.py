"""The life of a helper: each start, the step from one process to the next, and the end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ipc_channel import fork
from ipc_channel.channel import IPCChannel
from ipc_channel.errors import ConnectInProgressError, HelperError, WrongLoopError
from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess, complete
from ipc_channel.helper.output import Outputs
from ipc_channel.helper.result import HelperResult
from ipc_channel.helper.start import Attempt
from ipc_channel.log import safely

_logger = logging.getLogger("ipc_channel.helper")


@dataclass(frozen=True)
class Limits:
    """How long is waited for a helper, in seconds."""

    timeout: float
    grace: float


class Lifecycle:
    """Starts and ends the processes of a helper, one at a time, on one channel."""

    def __init__(
        self, command: Command, outputs: Outputs | None, channel: IPCChannel, limits: Limits
    ) -> None:
        self.owner = fork.this_process()
        self.channel = channel
        self.process: HelperProcess | None = None
        self._command = command
        self._outputs = outputs
        self.limits = limits
        self._attempt: Attempt | None = None

    @property
    def attach(self) -> bool:
        return self._outputs is None

    @property
    def result(self) -> HelperResult | None:
        return None if self.process is None else self.process.result

    async def start(self) -> None:
        """Start a process, and wait for it to connect; see ``Helper.start``."""
        async with self._admitted() as attempt:
            await attempt.run(self._set_process)

    async def start_or_close(self) -> None:
        """Start; if that fails, close the channel, unless it is in use elsewhere."""
        async with self._admitted() as attempt:
            try:
                await attempt.run(self._set_process)
            except (ConnectInProgressError, WrongLoopError):
                raise  # another task or another loop uses the channel
            except GeneratorExit:
                raise  # the loop is closed, so nothing can be awaited
            except BaseException:
                await complete(self.channel.close())
                raise

    async def stop(self) -> int | None:
        """Close the channel, and end the process; see ``Helper.stop``."""
        self.owner.check()
        if self._attempt is not None:
            self._attempt.stop()
        try:
            await self.channel.close()
        except BaseException as error:
            if self.process is not None:
                if isinstance(error, Exception):  # WrongLoopError, for instance
                    await self._end(self.process, self.limits.grace)
                else:
                    await self.process.kill_all(error)
            raise
        if self.process is None:
            return None
        await self._end(self.process, self.limits.grace)
        return self.process.returncode

    def check(self, error: BaseException | None) -> None:
        """Raise HelperError if the process has failed.

        If ``error`` has ended the block already, that gets a note instead.
        """
        result = self.result
        if result is None or not result.failed:
            return
        text = f"{self._named()} {result}"
        if error is not None:
            error.add_note(text)
            return
        failure = HelperError(text)
        failure.result = result
        raise failure

    @contextlib.asynccontextmanager
    async def _admitted(self) -> AsyncIterator[Attempt]:
        """Refuse a start while another process, or another peer, has the channel."""
        self.owner.check()
        name = f"helper {self._command}"
        if self._attempt is not None:
            raise HelperError(f"{name} is being started already: wait for that call")
        limits = self.limits
        attempt = Attempt(
            self._command,
            self._outputs,
            self.channel,
            timeout=limits.timeout,
            grace=limits.grace,
        )
        self._attempt = attempt
        try:
            if self.process is not None:
                await self._succeed(self.process)
            if self.channel.connected:
                raise HelperError(
                    f"{name}: the channel has a peer already; "
                    "disconnect it, or give the helper a channel of its own"
                )
            yield attempt
            self._log("%s has connected", self._named())
        finally:
            self._attempt = None

    def _named(self) -> str:
        number = "" if self.process is None else f" (pid {self.process.pid})"
        return f"helper {self._command}{number}"

    def _log(self, text: str, *args: object) -> None:
        safely(_logger.debug, text, *args)

    def _set_process(self, process: HelperProcess) -> None:
        self.process = process

    async def _succeed(self, process: HelperProcess) -> None:
        """End the previous process, provided that it or its session has ended.

        Its exit counts even if the session is open: another process that has inherited
        the helper's end of the channel may keep it open.
        """
        still = f"helper {self._command} (pid {process.pid}) is running"
        lives = self.channel.connected and self.channel.end_reason is None
        if process.returncode is None and lives:
            raise HelperError(
                f"{still}; to replace it, disconnect the channel and start again"
            )
        try:
            await self.channel.disconnect()  # the process may wait for our end to exit
            gone = await process.wait_for(self.limits.grace)
        except Exception:
            raise  # WrongLoopError, for instance
        except BaseException as error:
            await process.kill_all(error)
            raise
        if not gone:
            raise HelperError(
                f"{still} {self.limits.grace} s after its session; call process.kill() and"
                " start again, or raise grace if it needs longer"
            )
        await self._end(process, 0)

    async def _end(self, process: HelperProcess, patience: float) -> None:
        try:
            await process.end(patience, self.limits.grace)
            self._log("%s %s", self._named(), process.ending)
        except PermissionError as error:
            raise HelperError(
                f"helper {self._command} (pid {process.pid}) is still running: it has"
                " changed its user, so this process may not signal it; end it as that user,"
                " or as root"
            ) from error
