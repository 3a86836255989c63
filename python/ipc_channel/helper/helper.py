"""Start a helper, connect to it, and end it (spec/rendezvous.md, "Environment")."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import NoReturn

from ipc_channel import fork
from ipc_channel.channel import PIPE_CONN_TIMEOUT, IPCChannel
from ipc_channel.errors import ConnectInProgressError, HelperError, WrongLoopError
from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess, complete
from ipc_channel.helper.start import Attempt
from ipc_channel.options import check_flag, check_seconds
from ipc_channel.transports import registry


class Helper:
    """A helper process and this end of the channel to it.

    ``async with Helper(["./helper"]) as channel:`` starts the process with its rendezvous
    in ``IPC_CHANNEL_IN`` and ``IPC_CHANNEL_OUT``, connects, and on leaving closes the
    channel and waits for the process to end. The helper shares our standard output and
    error; its standard input is empty. All its signals have their default actions and
    are unblocked, whatever the service ignores or blocks.

    The helper leads a process group of its own: Ctrl-C in the terminal reaches
    only the service, and processes that the helper starts are ended with it, unless
    they move to another group (``setsid``). When the interpreter ends, or the Helper
    is dropped without :meth:`stop`, the group is killed.

    Windows has no signals. There CTRL_BREAK stands for SIGTERM, and ends a program that does
    not handle it. It reaches the group only if the service has a console; otherwise, and
    without a group of its own, the helper is killed instead. The helper is in a job object
    with the processes that it starts, unless they break away from the job
    (CREATE_BREAKAWAY_FROM_JOB).

    Arguments:
        command: program and arguments, each a str or a path.
        channel: the server that the helper is to connect to; by default one over a Unix
            socket, and over TCP on Windows. :meth:`stop` closes it.
        env: environment of the process besides the rendezvous; by default ours. On
            Windows SYSTEMROOT is added, without which a program cannot open a socket.
        cwd: its working directory; by default ours. If given, ``/bin/sh`` starts the
            program on POSIX, sets ``PWD``, and drops variables with names that are not
            identifiers.
        timeout: seconds within which it has to connect; by default 10.
        grace: seconds that it gets to end by itself once the channel is
            closed, and again after SIGTERM, before it is killed; by default 5.
        process_group: whether it leads a process group of its own. If False, it
            shares ours, as a helper that reads from the terminal must: Ctrl-C
            reaches it too, and processes that it starts are not ended with it.
        end_with_service: whether the helper and its group are ended if the service is
            killed, even by SIGKILL: a second process notices, and after ``grace`` seconds
            sends SIGTERM, and after another ``grace`` seconds SIGKILL. On Windows they are
            ended at once. By default True.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        channel: IPCChannel | None = None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float = PIPE_CONN_TIMEOUT,
        grace: float = 5.0,
        process_group: bool = True,
        end_with_service: bool = True,
    ) -> None:
        self._command = Command(
            command,
            env=env,
            cwd=cwd,
            process_group=process_group,
            end_grace=check_seconds("grace", grace)
            if check_flag("end_with_service", end_with_service)
            else None,
        )
        self.command = self._command.words
        if not isinstance(channel, IPCChannel | None):
            raise TypeError(
                f"channel is a server, not {type(channel).__name__};"
                " pass what make_ipc_channel() returns, or leave it out"
            )
        self._owner = fork.this_process()
        self._process: HelperProcess | None = None
        self._attempt: Attempt | None = None
        self._timeout = check_seconds("timeout", timeout)
        self._grace = check_seconds("grace", grace)
        # Last, so that nothing is left of a Helper that was refused.
        self._channel = channel or registry.for_helpers().server()

    @property
    def channel(self) -> IPCChannel:
        """The channel passed to the constructor, or made by it."""
        return self._channel

    @property
    def process(self) -> HelperProcess:
        """The process that was started last; HelperError before the first start.

        It has ``pid``, ``returncode``, ``wait()``, ``send_signal()``,
        ``terminate()`` and ``kill()``, as asyncio's processes have.
        """
        if self._process is None:
            raise HelperError(f"helper {self} was not started; call start first")
        return self._process

    async def start(self) -> IPCChannel:
        """Start the process and return the connected channel.

        You may call it again, on the same channel, once the previous process or its
        session has ended: it then disconnects the channel and gives the previous
        process ``grace`` seconds to exit. If that process exits in time, the rest of its
        group is ended. If it does not, ``start`` raises HelperError, and the process keeps
        running. After :meth:`stop`, which closes the channel, ``start`` cannot be called
        any more.

        Raises HelperError if the process cannot be started, ends before it
        connects or does not connect in time (it then gets SIGTERM, and ``grace`` seconds
        later SIGKILL), if the previous process is still running, or if :meth:`stop` is called
        meanwhile. Raises the errors of ``connect``. If cancelled, it kills the process
        and its group at once.
        """
        async with self._admitted() as attempt:
            await attempt.run(self._set_process)
        return self.channel

    async def stop(self) -> int | None:
        """Close the channel, wait for the process to end, and return its exit status.

        A process that has not ended after ``grace`` seconds gets SIGTERM, together with
        its group, and after another ``grace`` seconds SIGKILL. Processes that it leaves
        behind in its group are ended the same way.

        The status is negative for a signal, and None if the process was never
        started. On Windows it is 0xC000013A after a CTRL_BREAK that the helper did not
        handle, and 0xE04B494C after it was killed.

        If cancelled, it kills the process and its group at once. In a forked child it
        raises WrongProcessError, and the parent's helper keeps running.
        """
        self._owner.check()
        if self._attempt is not None:
            self._attempt.stop()
        try:
            await self.channel.close()
        except BaseException as error:
            if self._process is not None:
                if isinstance(error, Exception):  # WrongLoopError, for instance
                    await self._end(self._process, self._grace)
                else:
                    await self._process.kill_all(error)
            raise
        if self._process is None:
            return None
        await self._end(self._process, self._grace)
        return self._process.returncode

    def __repr__(self) -> str:
        if self._process is None:
            state = "not started"
        elif (status := self._process.returncode) is None:
            state = f"pid {self._process.pid}"
        else:
            state = f"status {status}"
        return f"<Helper {self} {state}>"

    async def __aenter__(self) -> IPCChannel:
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
        return self.channel

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owner.runs:  # a forked child leaves the block as well
            await self.stop()

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} can be neither copied nor pickled: only the process that started a"
            " helper can end it; make the Helper in the child process, with its own channel"
        )

    def __str__(self) -> str:
        return str(self._command)

    @contextlib.asynccontextmanager
    async def _admitted(self) -> AsyncIterator[Attempt]:
        """Refuse a start while another process, or another peer, has the channel."""
        self._owner.check()
        if self._attempt is not None:
            raise HelperError(f"helper {self} is being started already: wait for that call")
        attempt = Attempt(self._command, self.channel, self._timeout, self._grace)
        self._attempt = attempt
        try:
            if self._process is not None:
                await self._succeed(self._process)
            if self.channel.connected:
                raise HelperError(
                    f"helper {self}: the channel has a peer already; "
                    "disconnect it, or give the helper a channel of its own"
                )
            yield attempt
        finally:
            self._attempt = None

    def _set_process(self, process: HelperProcess) -> None:
        self._process = process

    async def _succeed(self, process: HelperProcess) -> None:
        """End the previous process, provided that it or its session has ended.

        Its exit counts even if the session is open: another process that has inherited
        the helper's end of the channel may keep it open.
        """
        still = f"helper {self} (pid {process.pid}) is running"
        lives = self.channel.connected and self.channel.end_reason is None
        if process.returncode is None and lives:
            raise HelperError(
                f"{still}; to replace it, disconnect the channel and start again"
            )
        try:
            await self.channel.disconnect()  # the process may wait for our end to exit
            gone = await process.wait_for(self._grace)
        except Exception:
            raise  # WrongLoopError, for instance
        except BaseException as error:
            await process.kill_all(error)
            raise
        if not gone:
            raise HelperError(
                f"{still} {self._grace} s after its session; call process.kill() and start"
                " again, or raise grace if it needs longer"
            )
        await self._end(process, 0)

    async def _end(self, process: HelperProcess, patience: float) -> None:
        try:
            await process.end(patience, self._grace)
        except PermissionError as error:
            raise HelperError(
                f"helper {self} (pid {process.pid}) is still running: it has changed its"
                " user, so this process may not signal it; end it as that user, or as root"
            ) from error
