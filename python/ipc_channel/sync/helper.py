"""Start a helper, connect to it, and end it, in programs without asyncio."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import NoReturn

from ipc_channel import fork
from ipc_channel.channel import PIPE_CONN_TIMEOUT
from ipc_channel.channel import IPCChannel as AsyncServer
from ipc_channel.closed import channel_closed
from ipc_channel.errors import HelperError
from ipc_channel.helper import helper as aio
from ipc_channel.helper.helper_process import HelperProcess as AsyncProcess
from ipc_channel.helper.result import HelperResult
from ipc_channel.helper.sinks import OutputOption
from ipc_channel.options import LONGEST, check_seconds
from ipc_channel.sync.channel import IPCChannel, parts_of, release
from ipc_channel.sync.driver import Driver
from ipc_channel.sync.transports import blocking_server


class HelperProcess:
    """A process that a :class:`Helper` started."""

    def __init__(self, process: AsyncProcess, driver: Driver) -> None:
        self._process = process
        self._driver = driver

    @property
    def pid(self) -> int:
        """Its number, which may belong to another process once it has ended."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs.

        See :class:`ipc_channel.helper.helper_process.HelperProcess`.
        """
        return self._process.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return its exit status.

        Raises TimeoutError after ``timeout`` seconds.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        return self._driver.run(self._process.wait(), timeout)

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process only, not to its group.

        Raises ProcessLookupError once it has ended, WrongProcessError in a forked child,
        and ValueError for a signal that Windows does not have.
        """
        self._process.send_signal(signal)

    def terminate(self) -> None:
        """Send it SIGTERM; on Windows, end it at once."""
        self._process.terminate()

    def kill(self) -> None:
        """Send it SIGKILL; on Windows, end it at once."""
        self._process.kill()

    def __repr__(self) -> str:
        return repr(self._process)


class _Helper(aio.Helper):
    _reads_in_thread = True  # the loop of a blocking channel runs only during calls


class Helper:
    """A helper process and this end of the blocking channel to it.

    ``with Helper(["./helper"]) as channel:`` starts the process, connects, and on leaving
    closes the channel and waits for the process to end. The arguments, and what the helper
    is given, are those of :class:`ipc_channel.Helper`; ``channel`` is a blocking one, and
    ``timeout`` may be None, for no limit. What is different on Windows is described there,
    too.
    """

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
        timeout: float | None = PIPE_CONN_TIMEOUT,
        grace: float = 5.0,
        process_group: bool = True,
        end_with_service: bool = True,
        name: str | None = None,
        stdout: OutputOption = "inherit",
        stderr: OutputOption = "forward",
        check: bool = True,
        attach: bool = False,
    ) -> None:
        if not isinstance(channel, IPCChannel | None):
            raise TypeError(
                f"channel is a blocking server, not {type(channel).__name__}; pass what"
                " ipc_channel.sync.make_ipc_channel() returns, or leave it out"
            )
        self._driver, end = (Driver(), None) if channel is None else parts_of(channel)
        assert isinstance(end, AsyncServer | None)
        self._helper = _Helper(
            command,
            end,
            env=env,
            add_env=add_env,
            cwd=cwd,
            user=user,
            group=group,
            limits=limits,
            nice=nice,
            timeout=LONGEST if timeout is None else timeout,
            grace=grace,
            process_group=process_group,
            end_with_service=end_with_service,
            name=name,
            stdout=stdout,
            stderr=stderr,
            check=check,
            attach=attach,
        )
        self._channel = channel or blocking_server(self._driver, self._helper.channel)
        self._use = self._driver.acquire()
        self._owner = fork.this_process()
        self.command = self._helper.command

    @property
    def channel(self) -> IPCChannel:
        """The channel passed to the constructor, or made by it."""
        return self._channel

    @property
    def process(self) -> HelperProcess:
        """The process that was started last; HelperError before the first start."""
        return HelperProcess(self._helper.process, self._driver)

    @property
    def result(self) -> HelperResult | None:
        """What came of the process that was started last; None before it has ended."""
        return self._helper.result

    def start(self) -> IPCChannel:
        """Start the process and return the connected channel.

        See :meth:`ipc_channel.Helper.start`. If interrupted, it kills the process and
        its group at once.
        """
        with self._in_use() as can_start:
            if not can_start:
                raise channel_closed()
            self._driver.run(self._helper.start())
        return self._channel

    def stop(self) -> int | None:
        """Close the channel, wait for the process to end, and return its exit status.

        See :meth:`ipc_channel.Helper.stop`. If interrupted, it kills the process and its
        group at once.
        """
        with self._in_use() as is_left:
            try:
                if is_left:
                    self._driver.run(self._helper.stop())
            finally:
                self._release()
        process = self._started()
        return None if process is None else process.returncode

    def __enter__(self) -> IPCChannel:
        with self._in_use() as can_start:
            if not can_start:
                raise channel_closed()
            try:
                self._driver.run(self._helper.__aenter__())
            except BaseException:
                self._release()
                raise
        return self._channel

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owner.runs:  # a forked child leaves the block as well
            self.stop()
            self.check(error)

    def check(self, error: BaseException | None = None) -> None:
        """Raise HelperError if the helper has failed: see the argument ``check``.

        Leaving the block calls it. If ``error`` has ended the block already, that gets a
        note instead.
        """
        self._helper.check(error)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[bool]:
        """Keep other threads from freeing the loop; give False if that is done already."""
        use = self._driver.acquire()
        try:
            yield not (self._owner.runs and self._driver.loop.is_closed())
        finally:
            self._driver.release(use)

    def _started(self) -> AsyncProcess | None:
        try:
            return self._helper.process
        except HelperError:  # not started
            return None

    def _release(self) -> None:
        """Free the loop unless there is still a process to wait for."""
        release(self._channel)
        process = self._started()
        if process is None or process.returncode is not None:
            self._driver.release(self._use)

    def __getstate__(self) -> NoReturn:
        self._helper.__getstate__()

    def __repr__(self) -> str:
        return repr(self._helper)

    def __str__(self) -> str:
        return str(self._helper)


def parts_of_helper(helper: Helper) -> tuple[Driver, aio.Helper]:
    """Return what a blocking helper consists of, for what is built upon it."""
    return helper._driver, helper._helper  # noqa: SLF001  # not for users
