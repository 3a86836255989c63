"""Start a helper process, meet it, and end it (spec/rendezvous.md, "Environment")."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
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
        command: program and arguments, each a str or a path.
        channel: the server that the helper is to connect to; closed by :meth:`stop`.
        env: environment of the process besides the rendezvous; by default ours.
        cwd: its working directory; by default ours.
        timeout: seconds within which it has to connect; by default 10.
        grace: seconds that it gets to end by itself once the channel is
            closed, and again after SIGTERM, before it is killed; by default 5.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
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
        self._channel = channel
        self._process: asyncio.subprocess.Process | None = None
        self._starting = False
        self._env = dict(os.environ) if env is None else _check_env(env)
        self._cwd = cwd
        self._timeout = check_seconds("timeout", timeout)
        self._grace = check_seconds("grace", grace)

    @property
    def channel(self) -> IPCChannel:
        """The channel that was given."""
        return self._channel

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process that was started last; HelperError before the first.

        Its ``returncode`` is known a moment after the end of the session:
        ``await helper.process.wait()``.
        """
        if self._process is None:
            raise HelperError(f"helper {self} was not started")
        return self._process

    async def start(self) -> IPCChannel:
        """Start the process and return the connected channel.

        May be called again, on the same channel, once the session with the
        process before has ended: it then disconnects, and waits for that
        process at most ``grace`` seconds. Not after :meth:`stop`, which
        closes the channel.

        Raises HelperError if the process cannot be started, ends before it
        connects or does not connect in time (it gets SIGTERM then, and
        ``grace``), or if the one before still runs; and what ``connect``
        raises. If cancelled, it kills the process at once.
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
            except HelperError:
                await _end(process, 0, self._grace)
                raise
            except BaseException:
                await _end(process, 0, 0)
                raise
        finally:
            await _cancel(connecting)
        return self.channel

    async def stop(self) -> int | None:
        """Close the channel, wait for the process to end, and return its exit status.

        It is negative for a signal, and None if the process was never started.
        If cancelled, it kills the process at once.
        """
        try:
            await self.channel.close()
        finally:
            if self._process is not None:
                await _end(self._process, self._grace, self._grace)
        return None if self._process is None else self._process.returncode

    def __repr__(self) -> str:
        if self._process is None:
            state = "not started"
        elif (status := self._process.returncode) is None:
            state = f"pid {self._process.pid}"
        else:
            state = f"status {status}"
        return f"<Helper {self} {state}>"

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
        words = (word if len(word) <= 60 else word[:57] + "..." for word in self.command)
        text = shlex.join(" ".join(word.split()) for word in words)
        return text if len(text) <= 200 else text[:197] + "..."

    async def _await_predecessor(self) -> None:
        """Let a process whose session has ended go: its end is known a moment later."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        still = f"helper {self} (pid {process.pid}) is running"
        if self.channel.end_reason is None:
            raise HelperError(still)
        await self.channel.disconnect()  # it may wait for our end before it leaves
        try:
            async with asyncio.timeout(self._grace):
                await process.wait()
        except TimeoutError:
            raise HelperError(f"{still} {self._grace} s after its session") from None

    async def _spawn(self) -> asyncio.subprocess.Process:
        told = rendezvous.to_environment(self.channel.out_path, self.channel.in_path)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                env=self._env | told,
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
            )
        except (OSError, ValueError) as error:
            raise HelperError(f"cannot start helper {self}: {error}") from error
        return self._process

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


def _check_command(command: Any) -> list[str]:
    """Return ``command``, or raise unless it is a program and its arguments."""
    if isinstance(command, Iterable) and not isinstance(command, str | bytes):
        words = [os.fspath(w) if isinstance(w, os.PathLike) else w for w in command]
        if words and all(isinstance(word, str) for word in words):
            if "\0" in "".join(words):
                raise ValueError(f"command has a NUL byte: {command!r}")
            return words
    raise TypeError(f"command is a non-empty sequence of strings, not {command!r}")


def _check_env(env: Mapping[Any, Any]) -> dict[str, str]:
    """Return a copy of ``env``, or raise TypeError unless it is all strings."""
    for name, value in env.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise TypeError(f"env has {name!r}: {value!r}, which are not both strings")
    return dict(env)


async def _cancel(future: asyncio.Future[Any]) -> None:
    """Cancel ``future``, and wait until it has cleaned up behind itself."""
    future.cancel()
    await asyncio.wait({future})


async def _end(process: asyncio.subprocess.Process, patience: float, grace: float) -> None:
    """Wait ``patience`` for the process to end; ask it to; past ``grace``, make it."""
    try:
        for number, seconds in ((None, patience), (signal.SIGTERM, grace)):
            if number is not None:
                _signal(process, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await process.wait()
                    return
    finally:  # cancelled or not
        if process.returncode is None:
            _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.send_signal(number)
        else:
            # Popen looks first whether the process has ended, and takes its status
            # away from asyncio, which would report 255.
            os.kill(process.pid, number)
