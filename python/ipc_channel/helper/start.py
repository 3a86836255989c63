"""One attempt to start a helper: both its process and its connection, or neither."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from ipc_channel.channel import IPCChannel
from ipc_channel.errors import ConnectTimeoutError, HelperError
from ipc_channel.helper import by_hand
from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess, complete
from ipc_channel.helper.output import HelperOutput, Outputs
from ipc_channel.helper.result import quoted
from ipc_channel.protocol import rendezvous

_LAST_LOOK = 0.05  # seconds: longer than any pause between two attempts to connect


class Attempt:
    """Starts a process while the server waits for its connection."""

    def __init__(
        self,
        command: Command,
        outputs: Outputs | None,
        channel: IPCChannel,
        *,
        timeout: float,
        grace: float,
    ) -> None:
        self._command = command
        self._outputs = outputs  # None if the helper is started by hand
        self._channel = channel
        self._timeout = timeout
        self._grace = grace
        self._process: HelperProcess | None = None
        self._stopped = False

    def stop(self) -> None:
        """Make the attempt fail, because the channel is about to be closed."""
        self._stopped = True

    async def run(self, on_process: Callable[[HelperProcess], None]) -> None:
        """Start the process, pass it to ``on_process``, and return once it has connected.

        If that fails, or is cancelled, the process is ended and its connection dropped.
        """
        with contextlib.suppress(NotImplementedError):  # a channel of another library
            self._channel.abort()  # a peer that has connected before is not this helper
        connecting = asyncio.ensure_future(self._channel.connect(self._timeout))
        try:
            await asyncio.sleep(0)  # connect reports misuse at once
            if connecting.done() and connecting.result():
                raise HelperError(f"helper {self._command}: the channel has a peer already")
            if self._outputs is None:
                by_hand.explain(
                    self._command.words,
                    {**self._command.added, **self._rendezvous()},
                    self._command.cwd,
                )
                await asyncio.wait({connecting})
                if not (self._stopped or connecting.result()):
                    raise HelperError(f"helper {self._command}: the channel was closed")
            elif not self._stopped:
                self._process = self._spawn(self._outputs)
                on_process(self._process)
                await self._meet(self._process, connecting)
            if self._stopped:
                raise self._was_stopped()
        except BaseException as error:
            await self._undo(connecting, error)
            if self._stopped and isinstance(error, Exception):
                raise self._was_stopped() from None
            raise

    def _was_stopped(self) -> HelperError:
        return HelperError(f"helper {self._command} was stopped while it was being started")

    def _rendezvous(self) -> dict[str, str]:
        return rendezvous.to_environment(self._channel.out_path, self._channel.in_path)

    def _spawn(self, outputs: Outputs) -> HelperProcess:
        output = self._open(outputs)
        try:
            process = self._command.start(self._rendezvous(), output)
        except BaseException:
            output.close()
            raise
        self._process = process  # which is ended if the rest fails
        try:
            output.begin(process.pid)
        except (OSError, RuntimeError) as error:  # no thread, or no event loop for it
            raise self._command.cannot_start(error) from error
        return process

    def _open(self, outputs: Outputs) -> HelperOutput:
        try:
            return outputs.open()
        except OSError as error:
            raise self._command.cannot_start(error) from error

    async def _meet(self, process: HelperProcess, connecting: asyncio.Future[bool]) -> None:
        """Wait for the helper to connect, or to end, whichever comes first."""
        with process.watched() as ending:
            both: set[asyncio.Future[Any]] = {connecting, ending}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            # It may have connected, sent messages and exited in the meantime.
            await asyncio.wait({connecting}, timeout=_LAST_LOOK)
        if not (connecting.done() and connecting.result()):
            error = HelperError(self._unmet(process, timed_out=connecting.done()))
            error.result = process.result
            raise error

    def _unmet(self, process: HelperProcess, *, timed_out: bool) -> str:
        """Return why the helper did not connect, and what to check."""
        name = f"helper {self._command} (pid {process.pid})"
        if (result := process.result) is not None:
            lines = quoted(result.last_lines) or f"; {self._silence()}"
            return f"{name} {result.ending} before it connected{lines}"
        missed = self._channel.last_exception
        if not (timed_out and isinstance(missed, ConnectTimeoutError)):
            return f"{name} had not connected when the channel was closed"
        return (
            f"{name} did not connect in {self._timeout} s: {missed}; check that the program "
            "connects to the IPC_CHANNEL_IN and IPC_CHANNEL_OUT of its environment, "
            "and that a script or a wrapper passes them on, or raise timeout"
            f"{quoted(process.last_lines)}"
        )

    def _silence(self) -> str:
        if self._outputs is not None and self._outputs.captures_errors:
            return "it wrote nothing to standard error"
        return "see what it wrote to standard error"

    async def _undo(self, connecting: asyncio.Future[bool], reason: BaseException) -> None:
        """End the process and drop its connection; kill it unless it just failed."""
        try:
            if self._process is not None and isinstance(reason, HelperError):
                await self._process.end(0, self._grace)
            elif self._process is not None:
                await self._process.kill_all(reason)
        finally:
            connecting.cancel()
            if not isinstance(reason, GeneratorExit):  # the loop has gone
                await complete(self._drop_peer(connecting))

    async def _drop_peer(self, connecting: asyncio.Future[bool]) -> None:
        """Wait for the end of ``connecting``, and drop a peer that has connected."""
        await asyncio.wait({connecting})
        if not connecting.cancelled():
            connecting.exception()  # retrieved, or else asyncio logs an error
        if self._process is not None:
            self._channel.abort()
