"""Start a helper, connect to it, and end it (spec/rendezvous.md, "Environment")."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NoReturn

from ipc_channel.channel import PIPE_CONN_TIMEOUT, IPCChannel
from ipc_channel.errors import HelperError
from ipc_channel.helper.command import Command
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.helper.launch import Launch
from ipc_channel.helper.lifecycle import Lifecycle, Limits
from ipc_channel.helper.names import check_name, name_of
from ipc_channel.helper.output import Outputs
from ipc_channel.helper.result import HelperResult
from ipc_channel.helper.sinks import OutputOption
from ipc_channel.options import LONGEST, check_flag, check_seconds
from ipc_channel.transports import registry


class Helper:
    """A helper process and this end of the channel to it.

    ``async with Helper(["./helper"]) as channel:`` starts the process with its rendezvous
    in ``IPC_CHANNEL_IN`` and ``IPC_CHANNEL_OUT``, connects, and on leaving closes the
    channel and waits for the process to end. If the process has failed by then, it raises
    HelperError. The standard input of a helper is empty. All its signals have their
    default actions and are unblocked, whatever the service ignores or blocks.

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
        command: program and arguments, each a str or a path. A program without a directory
            is looked up in PATH of ``env``. On Windows a batch file is refused, since
            cmd.exe would take parts of the arguments for commands.
        channel: the server that the helper is to connect to; by default one over a Unix
            socket, and over TCP on Windows. :meth:`stop` closes it.
        env: environment of the process besides the rendezvous; by default ours. On
            Windows SYSTEMROOT is added, without which a program cannot open a socket.
        add_env: variables to add to ``env``, or to replace in it; a value of None
            removes the variable.
        cwd: its working directory; by default ours. If given, ``/bin/sh`` starts the
            program on POSIX, sets ``PWD``, and drops variables with names that are not
            identifiers.
        user: name or number of the user that the helper becomes, with the groups of that
            user; HOME, USER and LOGNAME stay as they are. Needs root. The channel that is
            made by default lets that user in; one that you pass needs
            ``allowed_users=[user]``. Not on Windows.
        group: name or number of its group, by default the one of ``user``. Needs root, and
            is not for Windows.
        limits: resource limits, by their names in the module ``resource`` without
            ``RLIMIT_``: a number for both limits, or (soft, hard), such as
            ``{"NOFILE": 100, "CORE": (0, 0)}``. Not on Windows.
        nice: increment of its nice value, from -20 to 19; only root may pass less than 0. On
            Windows it chooses a priority class.

            With one of these four, a small Python program (``sys.executable``) starts first
            and becomes the helper. If it cannot, it says why on standard error, and ends
            with status 126.
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
        name: what stands for the helper in errors, events and the names of loggers. By
            default loggers have the name of the program or, behind an interpreter, of the
            script, without its extension.
        stdout: what becomes of its standard output: as ``stderr``; by default "inherit".
        stderr: what becomes of its standard error. Unless it is inherited, the last 100
            lines are kept for :attr:`result` and for the text of HelperError.

            - "forward", the default: it is copied to ours as it comes.
            - "inherit": the helper shares ours, as one that looks for a terminal must.
            - "log", or a logger: each line is logged, with the number of the process, by
              ``ipc_channel.helper.<name>`` or that logger. The level is INFO; a line
              that is a JSON object with a level keeps it.
            - a ``pathlib.Path`` or an open file: it is appended there. A str is refused.
            - a function: it is called with each line, a str without its end. An
              exception that it raises is logged once, and ends nothing.
            - "discard": it is dropped; only the last lines are kept.

            A line over 64 KiB is split, and a byte that is not UTF-8 becomes ``\\xff``.
            Lines are read by the event loop (by a thread on Windows and in blocking
            programs). What is captured has no reader once the service has died: a helper
            that writes then gets SIGPIPE.
        check: whether a helper that failed makes HelperError on leaving the block. It has
            failed if its status is not 0, unless this object has sent it SIGTERM, SIGINT
            or SIGKILL, or the signal that ended it; so one that hangs, and is killed after
            ``grace``, has not failed. If the block has raised an exception, that gets a
            note with the failure instead.
        attach: whether you start the process yourself, for instance in a debugger. Then
            :meth:`start` prints the variables and a command line, with ``cwd`` and
            ``add_env``, to standard error, and waits without limit. What else would be done
            to the process, such as ``env``, ``user`` and ``stderr``, is not done; its
            status stays unknown, so :attr:`result` is None, ``check`` has no effect, and no
            signal is sent.
    """

    _reads_in_thread = sys.platform == "win32"
    """Whether outputs are read in a thread: on POSIX the event loop reads them."""

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        channel: IPCChannel | None = None,
        *,
        env: Mapping[str, str] | None = None,
        add_env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        limits: Mapping[str, int | tuple[int, int]] | None = None,
        nice: int | None = None,
        timeout: float = PIPE_CONN_TIMEOUT,
        grace: float = 5.0,
        process_group: bool = True,
        end_with_service: bool = True,
        name: str | None = None,
        stdout: OutputOption = "inherit",
        stderr: OutputOption = "forward",
        check: bool = True,
        attach: bool = False,
    ) -> None:
        launch = Launch(user=user, group=group, limits=limits, nice=nice)
        self._command = Command(
            command,
            name=None if name is None else check_name(name),
            env=env,
            add_env=add_env,
            cwd=cwd,
            launch=launch,
            process_group=process_group,
            end_grace=check_seconds("grace", grace)
            if check_flag("end_with_service", end_with_service)
            else None,
        )
        self.command = self._command.words
        outputs = Outputs(
            name_of(self.command) if name is None else name,
            stdout=stdout,
            stderr=stderr,
            in_thread=self._reads_in_thread,
        )
        check_seconds("timeout", timeout)
        times = Limits(
            LONGEST if check_flag("attach", attach) else timeout,
            check_seconds("grace", grace),
        )
        if not isinstance(channel, IPCChannel | None):
            raise TypeError(
                f"channel is a server, not {type(channel).__name__};"
                " pass what make_ipc_channel() returns, or leave it out"
            )
        self._check = check_flag("check", check)
        # Last, so that nothing is left of a Helper that was refused.
        users = () if launch.user is None else (launch.user,)
        channel = channel or registry.for_helpers().server(allowed_users=users)
        self._life = Lifecycle(self._command, None if attach else outputs, channel, times)

    @property
    def channel(self) -> IPCChannel:
        """The channel passed to the constructor, or made by it."""
        return self._life.channel

    @property
    def grace(self) -> float:
        """Seconds that the process gets to end by itself, as the constructor was told."""
        return self._life.limits.grace

    @property
    def attach(self) -> bool:
        """Whether you start the process yourself, as the constructor was told."""
        return self._life.attach

    @property
    def process(self) -> HelperProcess:
        """The process that was started last; HelperError before the first start.

        It has ``pid``, ``returncode``, ``wait()``, ``send_signal()``,
        ``terminate()`` and ``kill()``, as asyncio's processes have.
        """
        if self._life.process is None:
            raise HelperError(f"helper {self} was not started; call start first")
        return self._life.process

    @property
    def result(self) -> HelperResult | None:
        """What came of the process that was started last; None before it has ended.

        It has ``command``, ``pid``, ``status``, ``signal`` (a name or None), ``duration`` in
        seconds, ``last_lines``, ``requested`` (whether this object had sent it a signal),
        ``failed`` and ``crashed``. ``str()`` says it in words.
        """
        return self._life.result

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
        await self._life.start()
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
        return await self._life.stop()

    def __repr__(self) -> str:
        process = self._life.process
        if process is None:
            state = "not started"
        elif (status := process.returncode) is None:
            state = f"pid {process.pid}"
        else:
            state = f"status {status}"
        return f"<Helper {self} {state}>"

    async def __aenter__(self) -> IPCChannel:
        await self._life.start_or_close()
        return self.channel

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._life.owner.runs:  # a forked child leaves the block as well
            await self.stop()
            self.check(error)

    def check(self, error: BaseException | None = None) -> None:
        """Raise HelperError if the helper has failed: see the argument ``check``.

        Leaving the block calls it. If ``error`` has ended the block already, that gets a
        note instead.
        """
        if self._check:
            self._life.check(error)

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} can be neither copied nor pickled: only the process that started a"
            " helper can end it; make the Helper in the child process, with its own channel"
        )

    def __str__(self) -> str:
        return str(self._command)
