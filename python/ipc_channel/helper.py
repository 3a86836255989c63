"""Start a helper process, meet it, and end it (spec/rendezvous.md, "Environment")."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from ipc_channel import rendezvous
from ipc_channel.endpoint import check_seconds
from ipc_channel.errors import HelperError
from ipc_channel.interface import PIPE_CONN_TIMEOUT, IPCChannel


class Helper:
    """A helper process and this end of the channel to it.

    ``async with Helper(["./helper"], make_ipc_channel()) as channel:`` starts
    the process with its rendezvous in ``IPC_CHANNEL_IN`` and
    ``IPC_CHANNEL_OUT``, connects, and on leaving closes the channel and waits
    for the process to end. It shares our standard output and error; its
    standard input is empty.

    Arguments:
        command: program and arguments.
        channel: the server that the helper is to connect to; closed by :meth:`stop`.
        env: environment of the process besides the rendezvous; by default ours.
        cwd: its working directory; by default ours.
        timeout: seconds within which it has to connect; by default 10.
        grace: seconds that it gets to end by itself once the channel is
            closed, and again after SIGTERM, before it is killed; by default 5.
    """

    def __init__(
        self,
        command: Sequence[str],
        channel: IPCChannel,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float = PIPE_CONN_TIMEOUT,
        grace: float = 5.0,
    ) -> None:
        self.command = _check_command(command)
        if not isinstance(channel, IPCChannel):
            raise TypeError(f"channel is a server, not {type(channel).__name__}")
        self.channel = channel
        self.process: asyncio.subprocess.Process | None = None
        """The process; None before the start.

        Its ``returncode`` is known a moment after the end of the session:
        ``await helper.process.wait()``.
        """
        self._starting = False
        self._env = dict(os.environ if env is None else env)
        self._cwd = cwd
        self._timeout = check_seconds("timeout", timeout)
        self._grace = check_seconds("grace", grace)

    async def start(self) -> IPCChannel:
        """Start the process and return the connected channel.

        May be called again, on the same channel, once the session with the
        process before has ended: it then waits for that process, at most
        ``grace`` seconds. Not after :meth:`stop`, which closes the channel.

        Raises HelperError if the process cannot be started, ends before it
        connects or does not connect in time (it has then been ended), or if
        the one before still runs; and what ``connect`` raises.
        """
        if self._starting:
            raise HelperError(f"helper {self} is being started")
        self._starting = True
        try:
            return await self._start()
        finally:
            self._starting = False

    async def _start(self) -> IPCChannel:
        await self._await_predecessor()
        connecting = asyncio.ensure_future(self.channel.connect(self._timeout))
        await asyncio.sleep(0)  # what connect refuses, it refuses at once
        try:
            if connecting.done() and connecting.result():
                raise HelperError(f"helper {self}: the channel has a peer already")
            process = await self._spawn()
            try:
                await self._meet(process, connecting)
            except BaseException:
                await _end(process, grace=0)
                raise
        finally:
            await _cancel(connecting)
        return self.channel

    async def stop(self) -> int | None:
        """Close the channel, wait for the process to end, and return its exit status.

        It is negative for a signal, and None if the process was never started.
        """
        try:
            await self.channel.close()
        finally:
            if self.process is not None:
                await _end(self.process, self._grace)
        return None if self.process is None else self.process.returncode

    async def __aenter__(self) -> IPCChannel:
        try:
            return await self.start()
        except BaseException:
            await self.channel.close()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __str__(self) -> str:
        text = shlex.join(self.command)
        return text if len(text) <= 200 else text[:197] + "..."

    async def _await_predecessor(self) -> None:
        """Let a process whose session has ended go: its end is known a moment later."""
        if self.process is None or self.process.returncode is not None:
            return
        if self.channel.end_reason is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._grace):
                    await self.process.wait()
                    return
        raise HelperError(f"helper {self} (pid {self.process.pid}) is running")

    async def _spawn(self) -> asyncio.subprocess.Process:
        told = rendezvous.to_environment(self.channel.out_path, self.channel.in_path)
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                env=self._env | told,
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise HelperError(f"cannot start helper {self}: {error}") from error
        return self.process

    async def _meet(
        self, process: asyncio.subprocess.Process, connecting: asyncio.Future[bool]
    ) -> None:
        """Wait for the helper to connect, or to end, whichever comes first."""
        ending = asyncio.ensure_future(process.wait())
        try:
            both: set[asyncio.Future[Any]] = {connecting, ending}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                # It may have connected, spoken and left in the meantime.
                await asyncio.wait({connecting}, timeout=0.1)
            if not connecting.done():
                status = ending.result()
                raise HelperError(
                    f"helper {self} ended with status {status} before it connected"
                )
            if not connecting.result():
                raise HelperError(f"helper {self} did not connect in {self._timeout} s")
        finally:
            await _cancel(ending)


def _check_command(command: Sequence[str]) -> list[str]:
    """Return ``command``, or raise TypeError unless it is a program and its arguments."""
    words = None if isinstance(command, str | bytes) else list(command)
    if not words or not all(isinstance(word, str) for word in words):
        raise TypeError(f"command is a non-empty sequence of strings, not {command!r}")
    return words


async def _cancel(future: asyncio.Future[Any]) -> None:
    """Cancel ``future``, and wait until it has cleaned up behind itself."""
    future.cancel()
    await asyncio.wait({future})


async def _end(process: asyncio.subprocess.Process, grace: float) -> None:
    """Wait for the process to end; past ``grace``, ask it to, then make it."""
    try:
        for number in (None, signal.SIGTERM):
            if number is not None:
                _signal(process, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await process.wait()
                    return
    finally:  # cancelled or not
        if process.returncode is None:
            _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
