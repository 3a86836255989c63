"""The main function of a helper on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Unpack

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.channel import PIPE_CONN_TIMEOUT, IPCChannelClient
from ipc_channel.errors import (
    EndReason,
    IPCChannelError,
    PeerGoneError,
    ResetError,
)
from ipc_channel.factory import make_ipc_channel_client
from ipc_channel.helper_side import (
    LOOK_FOR_END,
    check_end,
    check_taken,
    explained,
    first_signal,
)
from ipc_channel.options import Options
from ipc_channel.protocol.rendezvous import from_environment


def run_helper(
    main: Callable[[IPCChannelClient], Coroutine[Any, Any, object]],
    *,
    timeout: float = PIPE_CONN_TIMEOUT,
    allowed_users: Iterable[int | str] = (),
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **options: Unpack[Options],
) -> None:
    """Do everything that a helper needs apart from its own work, which ``main`` does.

    Connects to the service that has started this program, awaits ``main(channel)`` in a
    new event loop, and closes the channel. The exit status of the program then tells
    the service how it went::

        async def echo(channel):
            async for message in channel:
                await channel.write(message)

        run_helper(echo)

    Returns, so that the status is 0, if ``main`` returned, unless the session has ended
    with an error (TruncatedError, ResetError, FrameTooLargeError), even if ``main``
    caught it. Also returns if a write failed because the service had closed its channel:
    it does not want the answer any more.

    Raises SystemExit, with the status 1 and a line on stderr that has the code of the
    error, if the session has ended with an error, if a write failed otherwise, if no service
    is there, or if the service did not take the last output within ``linger``. Raises
    SystemExit with the status 2 if an environment variable is missing: the helper was
    started by hand, and stderr says how to try it. Any other error of ``main`` passes
    through, once the channel is closed.

    At SIGINT, SIGTERM or SIGHUP (on Windows Ctrl-C or CTRL_BREAK) reads return None, even
    if messages are unread, so that ``main`` finishes the message in hand, sends the answer
    and returns; the status is 0 then. Another signal more than a second later ends the
    process at once. To learn of the signal while ``main`` waits for something else, read in
    another task.

    Arguments:
        main: coroutine function that gets the channel, connected.
        timeout: seconds to wait for the service.
        loop_factory: makes the event loop, such as ``uvloop.new_event_loop``.
        allowed_users, max_message_size, linger: see :func:`make_ipc_channel_client`.

    It must be called in the main thread, outside any event loop.
    """
    with explained(), asyncio.Runner(loop_factory=loop_factory) as runner:
        channel = make_ipc_channel_client(
            *from_environment(), allowed_users=allowed_users, **options
        )
        assert isinstance(channel, Endpoint)
        runner.run(_Life(channel).run(main, timeout))


class _Life:
    """The life of a helper: connect, serve, close."""

    def __init__(self, channel: Endpoint) -> None:
        self._channel = channel
        self._connecting: asyncio.Task[bool] | None = None
        self._stopped = False  # by a signal

    async def run(
        self,
        main: Callable[[IPCChannelClient], Coroutine[Any, Any, object]],
        timeout: float,
    ) -> None:
        loop, channel = asyncio.get_running_loop(), self._channel
        with first_signal(lambda: loop.call_soon_threadsafe(self._stop)):
            try:
                if await self._connect(timeout):
                    await self._serve(main)
            finally:
                await channel.close()
            check_taken(channel.session)

    async def _connect(self, timeout: float) -> bool:
        """Return whether to serve: False if a signal came before."""
        self._connecting = asyncio.create_task(self._channel.connect(timeout))
        await asyncio.wait({self._connecting})
        if self._stopped:
            return False
        if not self._connecting.result():
            assert self._channel.last_exception is not None
            raise self._channel.last_exception
        return True

    def _stop(self) -> None:
        self._stopped = True
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        elif self._channel.session is not None:
            self._channel.session.stop_delivering()

    async def _serve(
        self, main: Callable[[IPCChannelClient], Coroutine[Any, Any, object]]
    ) -> None:
        channel = self._channel
        try:
            await main(channel)
        except (PeerGoneError, ResetError):
            if not (self._stopped or await self._was_closed()):
                raise
        check_end(channel.end_reason, channel.last_exception)

    async def _was_closed(self) -> bool:
        """Whether the service has closed its channel, after a write has failed."""
        assert self._channel.session is not None
        inbox = self._channel.session.inbox
        try:
            async with asyncio.timeout(LOOK_FOR_END):
                while await inbox.read() is not None:
                    pass
        except (IPCChannelError, TimeoutError):
            return False
        return self._channel.end_reason is EndReason.CLEAN
