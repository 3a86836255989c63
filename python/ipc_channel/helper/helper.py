"""Start a helper process, meet it, and end it (spec/rendezvous.md, "Environment")."""

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
from ipc_channel.options import check_seconds


class Helper:
    """A helper process and this end of the channel to it.

    ``async with Helper(["./helper"], make_ipc_channel()) as channel:`` starts
    the process with its rendezvous in ``IPC_CHANNEL_IN`` and
    ``IPC_CHANNEL_OUT``, connects, and on leaving closes the channel and waits
    for the process to end. It shares our standard output and error; its
    standard input is empty, and its signals are as by default, whatever the
    service ignores or blocks.

    The process leads a process group of its own: Ctrl-C in the terminal reaches
    the service only, and whatever the helper starts ends with it, unless that
    moves to another group (``setsid``). When the interpreter ends, or the Helper
    is dropped without :meth:`stop`, the group is killed.

    Arguments:
        command: program and arguments, each a str or a path.
        channel: the server that the helper is to connect to; closed by :meth:`stop`.
        env: environment of the process besides the rendezvous; by default ours.
        cwd: its working directory; by default ours. With it the program is started by
            ``/bin/sh``, which sets ``PWD`` and leaves out variables whose names are no
            identifiers.
        timeout: seconds within which it has to connect; by default 10.
        grace: seconds that it gets to end by itself once the channel is
            closed, and again after SIGTERM, before it is killed; by default 5.
        process_group: whether it leads a process group of its own. If False, it
            shares ours, as one that reads from the terminal has to: Ctrl-C
            reaches it too, and what it starts is not ended with it.
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
        process_group: bool = True,
    ) -> None:
        self._command = Command(command, env=env, cwd=cwd, process_group=process_group)
        self.command = self._command.words
        if not isinstance(channel, IPCChannel):
            raise TypeError(
                f"channel is a server, not {type(channel).__name__};"
                " pass what make_ipc_channel() returns"
            )
        self._channel = channel
        self._owner = fork.this_process()
        self._process: HelperProcess | None = None
        self._attempt: Attempt | None = None
        self._timeout = check_seconds("timeout", timeout)
        self._grace = check_seconds("grace", grace)

    @property
    def channel(self) -> IPCChannel:
        """The channel that was given."""
        return self._channel

    @property
    def process(self) -> HelperProcess:
        """The process that was started last; HelperError before the first.

        It has ``pid``, ``returncode``, ``wait()``, ``send_signal()``,
        ``terminate()`` and ``kill()``, as those of asyncio.
        """
        if self._process is None:
            raise HelperError(f"helper {self} was not started; call start first")
        return self._process

    async def start(self) -> IPCChannel:
        """Start the process and return the connected channel.

        May be called again, on the same channel, once the process before has
        ended, or its session: the channel is then disconnected, and the process gets
        ``grace`` seconds to leave. If it does, what is left of its group is ended; if
        not, HelperError says so, and the process runs on. Not after :meth:`stop`, which
        closes the channel.

        Raises HelperError if the process cannot be started, ends before it
        connects or does not connect in time (it gets SIGTERM then, and
        ``grace``), if the one before still runs, or if :meth:`stop` is called
        meanwhile; and what ``connect`` raises. If cancelled, it kills the process
        and its group at once.
        """
        async with self._admitted() as attempt:
            await attempt.run(self._set_process)
        return self.channel

    async def stop(self) -> int | None:
        """Close the channel, wait for the process to end, and return its exit status.

        A process that has not ended after ``grace`` seconds gets SIGTERM, with
        all of its group, and after another ``grace`` they are killed. What the
        process leaves behind in its group is ended the same way.

        The status is negative for a signal, and None if the process was never
        started. If cancelled, it kills the process and its group at once. A forked
        child gets WrongProcessError, and the process, which is its parent's, runs on.
        """
        self._owner.check()
        if self._attempt is not None:
            self._attempt.stop()
        try:
            await self.channel.close()
        except BaseException as error:
            if self._process is not None:
                if isinstance(error, Exception):  # of another loop, for instance
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
                raise  # somebody else has the channel
            except GeneratorExit:
                raise  # its loop has gone, and nothing can be waited for
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
        if self._owner.runs:  # and not a forked child that leaves the block as well
            await self.stop()

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} can be neither copied nor pickled: a process belongs to the one that"
            " started it; make the Helper in the child process, with a channel of its own"
        )

    def __str__(self) -> str:
        return str(self._command)

    @contextlib.asynccontextmanager
    async def _admitted(self) -> AsyncIterator[Attempt]:
        """Refuse a start while another process, or another peer, has the channel."""
        self._owner.check()
        if self._attempt is not None:
            raise HelperError(f"helper {self} is being started by another task")
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
        """Let the process before go, once it has ended or its session has.

        Only the process tells: another that inherited its end of the channel may keep
        the session open.
        """
        still = f"helper {self} (pid {process.pid}) is running"
        lives = self.channel.connected and self.channel.end_reason is None
        if process.returncode is None and lives:
            raise HelperError(
                f"{still}; to replace it, disconnect the channel and start again"
            )
        try:
            await self.channel.disconnect()  # it may wait for our end before it leaves
            gone = await process.wait_for(self._grace)
        except Exception:
            raise  # of a session in another loop, for instance
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
                f"helper {self} (pid {process.pid}) runs on: it has changed its user, "
                "and this one may not signal it"
            ) from error
